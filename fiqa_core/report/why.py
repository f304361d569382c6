"""Why a face is poor, in words: which of its measures are among the worst of the set.

Measures are the columns whose metadata says in which direction they are better (`--measures`, `--align`, or any
tool's); compression goes with them where the table has it. Of a component that has a `_quality` too, its own value is
named: only that tells dark from bright. A table without such columns gives no words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.storage import open_read
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_part
from fiqa_core.wording import counted, visible

_SAMPLE = 100_000  # rows that the ranks are read off
_WORST = 0.1  # a measure that has a bad end is named where it is among this share at that end
_EITHER_END = 0.05  # one that has none, at either end
_MOST = 3
_MOST_NAME = 60


@dataclass(frozen=True)
class Measure:
    """A column. low, high: what a face is that is among the lowest or highest of the set; "" where that is no fault.
    share: how far from that end it is named. size_only: its sign says nothing (degrees to either side)."""

    name: str
    unit: str
    low: str
    high: str
    share: float = _WORST
    size_only: bool = False


# What a face with a low or a high value is called; the direction in the metadata decides which of them counts.
_WORDS: dict[str, tuple[str, str]] = {
    "luminance_mean": ("dark", "bright"),
    "luminance_variance": ("flat", "harshly lit"),
    "under_exposure_prevention": ("", "partly black"),
    "over_exposure_prevention": ("", "partly white"),
    "dynamic_range": ("of few grey levels", ""),
    "illumination_uniformity": ("lit from one side", ""),
    "natural_colour": ("", "unnatural in colour"),
    "contrast": ("low in contrast", ""),
    "sharpness": ("blurred", ""),
    "noise": ("", "noisy"),
    "resolution": ("blurred or enlarged", ""),
    "compression_quality": ("coarsely compressed", ""),
    "colourfulness": ("without colour", "strongly coloured"),
    "grey": ("", ""),
    "detail": ("blurred", ""),
    "blocking": ("", "blocky"),
    "side_light": ("", "lit from one side"),
    "pose_yaw": ("", "turned aside"),
    "pose_pitch": ("", "tilted up or down"),
    "pose_roll": ("", "leaning"),
    "inter_eye_distance": ("small", ""),
    "head_size": ("small in the picture", "large in the picture"),
    "leftward_crop_of_the_face_image": ("cut at the left", ""),
    "rightward_crop_of_the_face_image": ("cut at the right", ""),
    "margin_above_of_the_face_image": ("cut at the top", ""),
    "margin_below_of_the_face_image": ("cut at the bottom", ""),
}
# A column of storage, which has no direction in its metadata; `compression_quality` says the same better.
_QUANTISATION = Measure("quantisation", "", "", "coarsely compressed")
_COMPONENT = "_quality"


@dataclass(frozen=True)
class Ranks:
    """Values of each measure over the set (or a sample of it), ascending, float64."""

    measures: tuple[Measure, ...]
    values: Mapping[str, np.ndarray]

    def explain(self, row: Mapping[str, Any]) -> str:
        """One sentence about a row; "" where it has no measures (its image was not decoded)."""
        known = [
            (measure, value)
            for measure in self.measures
            if (value := _number(row.get(measure.name), measure)) is not None
        ]
        if not known:
            return ""
        found = sorted(self._faults(known), key=lambda fault: fault[0])[:_MOST]
        if not found:
            return f"None of {counted(len(known), 'measure')} is among the worst {100 * _WORST:.0f} % of the set."
        words = _joined(list(dict.fromkeys(word for _, word, _ in found)))
        return f"{words[:1].upper()}{words[1:]}: {', '.join(text for _, _, text in found)}."

    def _faults(self, known: Sequence[tuple[Measure, float]]) -> Iterator[tuple[float, str, str]]:
        """Share of the set that is as extreme, the word, and the measure in numbers."""
        for measure, value in known:
            values = self.values[measure.name]
            if not len(values):
                continue
            at_most = int(np.searchsorted(values, value, "right")) / len(values)
            at_least = 1 - int(np.searchsorted(values, value, "left")) / len(values)
            for word, share, end in ((measure.low, at_most, "lowest"), (measure.high, at_least, "highest")):
                if word and share <= measure.share:
                    yield share, word, f"{_amount(measure, value)} ({end} {_percent(share, len(values))})"


def read_ranks(parts: Sequence[TableFile]) -> Ranks | None:
    """The measures that every file has, ranked over at most 100,000 rows, evenly spaced; None if there are none.

    Raises:
        TableError: a damaged file.
    """
    measures = tuple(measures_of(parts))
    if not measures:
        return None
    rows = sum(part.rows for part in parts)
    step = max(1, -(-rows // _SAMPLE))
    names = [measure.name for measure in measures]
    taken: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part in parts:
        first = part.first
        for batch in read_part(part, names):
            chosen = np.arange(-first % step, batch.num_rows, step)
            for name in names:
                taken[name].append(_floats(batch.column(name).take(pa.array(chosen))))
            first += batch.num_rows
    values = {}
    for measure in measures:
        found = np.concatenate(taken[measure.name])
        found = np.abs(found) if measure.size_only else found
        values[measure.name] = np.sort(found[np.isfinite(found)])
    return Ranks(measures, values)


def measures_of(parts: Sequence[TableFile]) -> Iterator[Measure]:
    """The measures of tables, with words for their bad ends."""
    if not parts:
        return
    shared = set.intersection(*(set(part.columns) for part in parts))
    with open_read(parts[0].url) as stream:
        schema = pq.read_schema(stream)
    directed = [field for field in schema if field.name in shared and _is_number(field.type) and _direction(field)]
    named = {field.name for field in directed}
    yield from (
        _measure(field) for field in directed if field.name.removesuffix(_COMPONENT) not in named - {field.name}
    )
    if directed and "quantisation" in shared and "compression_quality" not in named:
        yield _QUANTISATION


def _measure(field: pa.Field) -> Measure:
    direction, unit = _direction(field), (field.metadata.get(b"unit") or b"").decode("utf-8", "replace")
    name = visible(field.name)[:_MOST_NAME]
    low, high = _WORDS.get(field.name, (f"low in {name}", f"high in {name}"))
    unit = visible(unit.partition(",")[0].partition(" (")[0])[:_MOST_NAME]
    if direction.startswith("higher"):
        return Measure(field.name, unit, low, "")
    if direction.startswith("lower"):
        return Measure(field.name, unit, "", high)
    if direction.startswith("nearer to 0"):
        return Measure(field.name, unit, "", high, size_only=True)
    return Measure(field.name, unit, low, high, _EITHER_END)


def _direction(field: pa.Field) -> str:
    return ((field.metadata or {}).get(b"direction") or b"").decode("utf-8", "replace")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _number(value: Any, measure: Measure) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return abs(float(value)) if measure.size_only else float(value)


def _amount(measure: Measure, value: float) -> str:
    name = visible(measure.name)[:_MOST_NAME]
    if measure.unit.partition(" ")[0] == "share":
        return f"{name} {value:.3g} of {measure.unit.partition(' of ')[2] or 1}"
    unit = "" if measure.unit in ("", "none", "ratio") else f" {measure.unit}"
    return f"{name} {value:.3g}{unit}"


def _percent(share: float, rows: int) -> str:
    """A share of the set; never 0, since the row itself is part of it."""
    return f"{100 * max(share, 1 / rows):.2g} %"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
