"""Which images of a dataset are trained on, as which class, with which weight."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.errors import TrainingError

_log = logging.getLogger(__name__)
_COLUMNS = ("shard", "index", "label", "keep", "weight")


@dataclass(frozen=True)
class DatasetIndex:
    """The kept images.

    Attributes:
        labels: identity of each class, sorted. kept: number of images.
        by_shard: for each shard, three arrays: index (int64, ascending), class (int64), weight (float32).
    """

    labels: tuple[str, ...]
    by_shard: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]

    @property
    def kept(self) -> int:
        return sum(len(index) for index, _, _ in self.by_shard.values())

    def of_shard(self, shard: str) -> dict[int, tuple[int, float]]:
        """Class and weight by the records' index; empty for a shard of which nothing is kept."""
        if shard not in self.by_shard:
            return {}
        index, classes, weights = self.by_shard[shard]
        return dict(zip(index.tolist(), zip(classes.tolist(), weights.tolist(), strict=True), strict=True))


def index_of_records(units: Sequence[Unit], read: ReadSettings) -> DatasetIndex:
    """Every labelled image, by reading the shards once (no image is decoded)."""
    rows: list[tuple[str, int, str]] = []
    without_label = without_image = 0
    for unit in units:
        for record in CONTAINERS[unit.container].read(unit, read):
            if record.data is None:
                without_image += 1
            elif record.label is None:
                without_label += 1
            else:
                rows.append((unit.shard, record.index, record.label))
    if without_image or without_label:
        _log.warning("not trained on: %d records without an image, %d without a label", without_image, without_label)
    if not rows:
        raise TrainingError("no labelled image in the input; training needs identities (labels). See --label-field.")
    shards, index, labels = zip(*rows, strict=True)
    return _index(list(shards), np.array(index), list(labels), np.ones(len(rows), np.float32))


def index_of_decisions(units: Sequence[Unit], decisions: str) -> DatasetIndex:
    """The rows that a decisions table keeps, with its weights; the shards are not read.

    Raises:
        TrainingError: no such table, one of other shards, or one that keeps nothing that has a label.
    """
    table = _read_decisions(decisions)
    names = {storage.absolute(unit.shard): unit.shard for unit in units} | {unit.url: unit.shard for unit in units}
    found = {shard: names.get(storage.absolute(shard)) for shard in set(table["shard"].unique().to_pylist())}
    strange = sorted(shard for shard, own in found.items() if own is None)
    absent = sorted({unit.shard for unit in units} - set(found.values()))
    if strange or absent:
        what = f"has rows of {strange[0]}, which is no input" if strange else f"has no row of {absent[0]}"
        raise TrainingError(f"{decisions}: {what}; give the decisions table of the same shards as data.input")
    keep = table["keep"].to_numpy()
    labelled = table["label"].is_valid().to_numpy()
    if lost := int((keep & ~labelled).sum()):
        _log.warning("%s: %d kept rows have no label and are not trained on", decisions, lost)
    table = table.filter(pa.array(keep & labelled))
    if not table.num_rows:
        raise TrainingError(f"{decisions}: it keeps no labelled row; nothing is left to train on")
    shards = [str(found[shard]) for shard in table["shard"].to_pylist()]
    return _index(shards, table["index"].to_numpy(), table["label"].to_pylist(), table["weight"].to_numpy())


def _read_decisions(decisions: str) -> pa.Table:
    folder = storage.join(decisions, "decisions")
    folder = folder if storage.is_folder(folder) else decisions
    names = (
        [name for name in storage.list_names(folder) if name.endswith(".parquet")] if storage.is_folder(folder) else []
    )
    if not names:
        raise TrainingError(f"{decisions}: no decisions table; expected the output of filtering, or its `decisions`")
    tables = []
    for name in sorted(names):
        with storage.open_read(storage.join(folder, name)) as stream:
            try:
                tables.append(pq.read_table(stream, columns=list(_COLUMNS)))
            except (pa.ArrowInvalid, KeyError) as error:
                raise TrainingError(f"{folder}/{name}: not a decisions table ({str(error)[:120]})") from error
    return pa.concat_tables(tables)


def _index(shards: list[str], index: np.ndarray, labels: list[str], weights: np.ndarray) -> DatasetIndex:
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise TrainingError(f"only one identity ({names[0]!r}) in the images that are kept; training needs two or more")
    numbers = {name: number for number, name in enumerate(names)}
    classes = np.array([numbers[label] for label in labels])
    owner = np.array(shards, object)
    by_shard = {}
    for shard in sorted(set(shards)):
        here = np.flatnonzero(owner == shard)
        here = here[np.argsort(index[here], kind="stable")]
        by_shard[shard] = (index[here], classes[here], weights[here].astype(np.float32))
    return DatasetIndex(names, by_shard)
