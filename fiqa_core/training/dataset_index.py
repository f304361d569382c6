"""Which images of a dataset are used for training, with their classes and weights."""

import logging
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.runs.layout import SUMMARY, parse_filter_run, read_run_file
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.tables.attached_labels import AttachedLabels, LabelList
from fiqa_core.training.errors import TrainingError
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_RECORDS_AT_ONCE = 1024
_COLUMNS = ("shard", "index", "label", "keep", "weight")


@dataclass(frozen=True)
class ShardRows:
    """The kept images of a shard: index (int64, ascending), class (int64), weight (float32)."""

    index: np.ndarray
    classes: np.ndarray
    weights: np.ndarray

    def find(self, index: int) -> tuple[int, float] | None:
        """Class and weight of a record; None if it is not kept."""
        place = int(np.searchsorted(self.index, index))
        if place == len(self.index) or self.index[place] != index:
            return None
        return int(self.classes[place]), float(self.weights[place])

    def places(self, index: np.ndarray) -> np.ndarray:
        """Row numbers (int64) of many records (N,); -1 for a record that is not kept."""
        found = np.minimum(np.searchsorted(self.index, index), max(0, len(self.index) - 1))
        return np.where(self.index[found] == index, found, -1) if len(self.index) else np.full(len(index), -1)


NOTHING = ShardRows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True)
class DatasetIndex:
    """The kept images. `labels`: identity of each class, sorted. `by_shard`: only shards with kept images."""

    labels: tuple[str, ...]
    by_shard: dict[str, ShardRows]

    @property
    def kept(self) -> int:
        """Number of images."""
        return sum(len(rows.index) for rows in self.by_shard.values())

    def of_shard(self, shard: str) -> ShardRows:
        """The rows of a shard; empty if nothing of it is kept."""
        return self.by_shard.get(shard, NOTHING)

    def keeps_of(self, unit: Unit) -> bool:
        """Whether a unit can hold a kept image (if its records are unknown: whether its shard does)."""
        index = self.of_shard(unit.shard).index
        if unit.records < 0:
            return bool(len(index))
        first, end = np.searchsorted(index, (unit.first_index, unit.first_index + unit.records))
        return bool(end > first)


def index_of_records(units: Sequence[Unit], read: ReadSettings, attached: LabelList | None = None) -> DatasetIndex:
    """Every labelled image, by reading the shards once (no image is decoded). `attached`: labels in place of theirs."""
    # Numbers only: millions of rows are some tens of bytes each.
    shards, labels = dict[str, int](), dict[str, int]()
    owner, index, classes = array("q"), array("q"), array("q")
    without_label = without_image = 0
    given = None if attached is None else AttachedLabels(attached)
    for unit in units:
        shard = shards.setdefault(unit.shard, len(shards))
        for place, has_image, label in _labelled_records(unit, read, given):
            if not has_image:
                without_image += 1
            elif label is None:
                without_label += 1
            else:
                owner.append(shard)
                index.append(place)
                classes.append(labels.setdefault(label, len(labels)))
    if given is not None:
        _refuse_unmatched(given)
    if without_image or without_label:
        _log.warning(
            "not trained on: %s without an image, %d without a label", counted(without_image, "record"), without_label
        )
    if not index:
        raise TrainingError("no labelled image in the input; training needs identities (labels). See --label-field.")
    rows = ShardRows(np.array(index), np.array(classes), np.ones(len(index), np.float32))
    return _index(list(shards), np.array(owner), list(labels), rows)


def _labelled_records(
    unit: Unit, read: ReadSettings, given: AttachedLabels | None
) -> Iterator[tuple[int, bool, str | None]]:
    """Of each record of a unit: `index`, whether it has an image, and its label."""
    records = ((r.index, r.data is not None, r.label, r.key) for r in CONTAINERS[unit.container].read(unit, read))
    if given is None:
        yield from (record[:3] for record in records)
        return
    while some := list(islice(records, _RECORDS_AT_ONCE)):
        keys = pa.array([key for *_, key in some], pa.string())
        for (index, has_image, *_), label in zip(some, given.once(keys).to_pylist(), strict=True):
            yield index, has_image, label


def _refuse_unmatched(given: AttachedLabels) -> None:
    """Say what a file of labels and the records have in common.

    Raises:
        TrainingError: nothing.
    """
    if not given.found.any():
        raise TrainingError(
            f"data.labels: none of the {counted(len(given), 'key')} of {given.where} is the key of a record. Name its "
            "column of keys by data.labels_key."
        )
    if unknown := len(given) - int(given.found.sum()):
        _log.warning("%s: %s no record", given.where, counted(unknown, "key is of", "keys are of"))


def index_of_decisions(units: Sequence[Unit], decisions: str, attached: LabelList | None = None) -> DatasetIndex:
    """The rows that a decisions table keeps, with its weights; the shards are not read. `attached`: labels in place of
    the table's.

    Raises:
        TrainingError: no such table, a table of other shards, or one that keeps no labelled row.
    """
    table = _read_decisions(decisions, [*_COLUMNS, "key"] if attached is not None else _COLUMNS)
    if attached is not None:
        given = AttachedLabels(attached)
        labels = given.once(table["key"].combine_chunks().cast(pa.string()))
        _refuse_unmatched(given)
        table = table.set_column(table.schema.get_field_index("label"), "label", labels)
    names = {storage.absolute(unit.shard): unit.shard for unit in units} | {unit.url: unit.shard for unit in units}
    owner = _codes(table["shard"])
    found = {shard: names.get(storage.absolute(shard)) for shard in owner.dictionary.to_pylist()}
    strange = sorted(shard for shard, own in found.items() if own is None)
    absent = sorted({unit.shard for unit in units} - set(found.values()))
    if strange or absent:
        what = f"has rows of {strange[0]}, which is not an input" if strange else f"has no row of {absent[0]}"
        raise TrainingError(f"{decisions}: {what}; give the decisions table of the same shards as data.input")
    keep = table["keep"].to_numpy()
    labelled = table["label"].is_valid().to_numpy()
    if lost := int((keep & ~labelled).sum()):
        _log.warning("%s: %s no label: not trained on", decisions, counted(lost, "kept row has", "kept rows have"))
    kept = keep & labelled
    if not kept.any():
        raise TrainingError(f"{decisions}: it keeps no labelled row; nothing is left to train on")
    codes = _codes(table["label"].filter(pa.array(kept)))
    rows = ShardRows(
        table["index"].to_numpy()[kept], codes.indices.to_numpy(), table["weight"].to_numpy()[kept].astype(np.float32)
    )
    shards = [str(shard) for shard in found.values()]
    return _index(shards, owner.indices.to_numpy()[kept], codes.dictionary.to_pylist(), rows)


def _codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column.combine_chunks().cast(pa.string()))


def _read_decisions(decisions: str, columns: Sequence[str]) -> pa.Table:
    folder = storage.join(decisions, "decisions")
    folder = folder if storage.is_folder(folder) else decisions
    names = (
        [name for name in storage.list_names(folder) if name.endswith(".parquet")] if storage.is_folder(folder) else []
    )
    if not names:
        raise TrainingError(f"{decisions}: no decisions table; expected the output of filtering, or its `decisions`")
    _refuse_unfinished(folder, names)
    tables = []
    for name in sorted(names):
        with storage.open_read(storage.join(folder, name)) as stream:
            try:
                tables.append(pq.read_table(stream, columns=list(columns)))
            except (pa.ArrowInvalid, KeyError) as error:
                raise TrainingError(f"{folder}/{name}: not a decisions table ({str(error)[:120]})") from error
    return pa.concat_tables(tables)


def _refuse_unfinished(folder: str, names: Sequence[str]) -> None:
    """Refuse the decisions of an interrupted filter run: they cover only a part of its table."""
    output = storage.above(folder)
    if output is None:
        return
    try:
        run = read_run_file(output, parse_filter_run)
    except (FileNotFoundError, ValueError):
        return  # decisions without a run beside them: a copy, or another tool's
    planned = len(run["quality"]) if isinstance(run["quality"], list) else len(names)
    if storage.stat(storage.join(output, SUMMARY)) is None or len(names) != planned:
        raise TrainingError(
            f"{output}: the filter run is not finished ({len(names)} of {planned} decisions files are there); finish "
            "it with fiqa filter --resume, then train"
        )


def _index(shards: list[str], owner: np.ndarray, labels: list[str], rows: ShardRows) -> DatasetIndex:
    """Rows in any order, with the numbers of their shards and labels."""
    names = sorted(set(labels))
    if len(names) < 2:
        raise TrainingError(f"only one identity ({names[0]!r}) in the images that are kept; training needs two or more")
    numbers = {name: number for number, name in enumerate(names)}
    classes = np.array([numbers[label] for label in labels], np.int64)[rows.classes]
    # By name: two spellings of a shard in a decisions table can mean one shard.
    spelled = {name: number for number, name in enumerate(sorted(set(shards)))}
    owner = np.array([spelled[name] for name in shards], np.int64)[owner]
    order = np.lexsort((rows.index, owner))
    edges = np.searchsorted(owner[order], np.arange(len(spelled) + 1))
    by_shard = {
        name: ShardRows(rows.index[here], classes[here], rows.weights[here])
        for name, number in spelled.items()
        if len(here := order[edges[number] : edges[number + 1]])
    }
    return DatasetIndex(tuple(names), by_shard)
