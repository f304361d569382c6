"""A look at the first records of a dataset: labels, sizes, and what would get no score. Nothing is scored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from fiqa_core.images.red_and_blue import RedAndBlue
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import Preparation, prepare_row
from fiqa_core.shards.sample import records_of
from fiqa_core.shards.unit import Unit
from schemas.reasons import Status

RECORDS = 64
_UNITS = 8  # from so many of them, spread over the plan


@dataclass
class Preview:
    """What some records of a dataset look like, each counted.

    Attributes:
        records: how many were looked at. labels: by label. label_sources: where the labels were found.
        looks_like_a_label: fields of records without label. sizes: stored (width, height) in pixels.
        rejected: reason codes of images that would get no score. colours: of what the network would see.
    """

    records: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    label_sources: Counter[str] = field(default_factory=Counter)
    looks_like_a_label: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    colours: RedAndBlue = field(default_factory=RedAndBlue)


def preview(units: Sequence[Unit], settings: ScoreSettings) -> Preview:
    """Look at up to `RECORDS` records, the first ones of units that are spread over the plan.

    Raises:
        OSError: a store or disk failed.
    """
    step = max(1, len(units) // _UNITS)
    chosen = units[::step][:_UNITS]
    found = Preview()
    for number, unit in enumerate(chosen):
        _look_at(unit, -(-(RECORDS - found.records) // (len(chosen) - number)), settings, found)
    return found


def _look_at(unit: Unit, records: int, settings: ScoreSettings, found: Preview) -> None:
    preparation = Preparation.of(replace(settings, phash=False), None)
    for record in islice(records_of(unit, settings.read, settings.sample), records):
        row = prepare_row(record, preparation)
        found.records += record.key is not None
        if record.label is not None:
            found.labels[record.label] += 1
            found.label_sources[record.label_from or "an earlier run"] += 1
        elif record.label_from:
            found.looks_like_a_label[record.label_from] += 1
        if row.pixels is not None:
            found.colours.add(row.pixels)
        if row.width is not None and row.height is not None:
            found.sizes[row.width, row.height] += 1
        if row.status is not Status.SCORED:
            found.rejected[row.status.value] += 1
