"""Kept images out of the source, each of them checked against the sha256 that was scored."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.subset import Slice, SourceChangedError, SubsetSettings, SubsetTask
from fiqa_core.curation.subset_labels import numbers, read_labels
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.names import printable
from fiqa_core.shards.output import OutputImage
from fiqa_core.shards.unit import Record, Unit
from fiqa_core.shards.webdataset import read_samples
from fiqa_core.storage import open_read

_COLUMNS = ["keep", "key", "shard", "index", "label", "quality", "tier", "weight", "sha256"]
_ROWS_AT_ONCE = 8192
_NONE: Mapping[str, bytes] = {}


class KeptRow(NamedTuple):
    """A row of the decisions that is kept; `number` is its dense label, None without one."""

    key: str
    shard: str
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody wants here
    label: str | None
    quality: float | None
    tier: str | None
    weight: float
    sha256: bytes
    number: int | None


def kept_images(task: SubsetTask, settings: SubsetSettings, output: str) -> Iterator[tuple[KeptRow, OutputImage]]:
    """The images of a task in order.

    Raises:
        SourceChangedError: an image that was scored is not there, or has other bytes.
        OSError: the store failed, or a shard is gone.
    """
    known = read_labels(output, task.labels) if settings.dense else None
    position = task.first
    for piece in task.slices:
        for row, record, others in _matched(piece, settings, known):
            data = record.data
            if data is None or hashlib.sha256(data).digest() != row.sha256:
                raise _changed(row, piece.unit, record)
            yield (
                row,
                OutputImage(position, row.key, row.label, row.number, data, others, row.quality, row.tier, row.weight),
            )
            position += 1


def _matched(
    piece: Slice, settings: SubsetSettings, known: pa.Array | None
) -> Iterator[tuple[KeptRow, Record, Mapping[str, bytes]]]:
    rows = _kept_rows(piece, known)
    row = next(rows, None)
    if row is None:
        return
    records = _records(_entered(piece.unit, row.index), settings)
    try:
        for record, others in records:
            if record.index < row.index:
                continue
            if record.index > row.index or record.key is None:
                raise _changed(row, piece.unit, record)
            yield row, record, others
            row = next(rows, None)
            if row is None:
                return
        raise _changed(row, piece.unit, None)
    finally:
        records.close()


def _kept_rows(piece: Slice, known: pa.Array | None) -> Iterator[KeptRow]:
    skip, take = piece.skip, piece.take
    with open_read(piece.decisions) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
            kept = pa.Table.from_batches([batch]).filter(batch["keep"]).drop_columns(["keep"])
            rows = kept.slice(min(skip, kept.num_rows), take)
            skip, take = max(0, skip - kept.num_rows), take - rows.num_rows
            columns = [rows[name].to_pylist() for name in _COLUMNS[1:]]
            dense = [None] * rows.num_rows if known is None else numbers(rows["label"], known).to_pylist()
            yield from map(KeptRow._make, zip(*columns, dense, strict=True))
            if not take:
                return
    raise SourceChangedError(f"{piece.decisions}: changed since the subset was planned. Write the subset again.")


def _records(unit: Unit, settings: SubsetSettings) -> Generator[tuple[Record, Mapping[str, bytes]], None, None]:
    if unit.container == "webdataset" and settings.format == "webdataset":
        yield from read_samples(unit, settings.read)
    else:
        for record in container_of(unit).read(unit, settings.read):
            yield record, _NONE


def _entered(unit: Unit, index: int) -> Unit:
    """The unit from the record with this index on, where its container can be entered in the middle."""
    if unit.container == "folder":
        return replace(unit, start=index, first_index=index)
    return replace(unit, start=index) if unit.container == "recordio" else unit


def _changed(row: KeptRow, unit: Unit, record: Record | None) -> SourceChangedError:
    if record is None:
        found = "the shard ends before it"
    elif record.fault is not None:
        found = f"found: {record.fault.message}"
    elif record.index != row.index:
        found = f"the next record there is {printable(str(record.key))!r} (index {record.index})"
    else:
        found = f"the stored bytes are not those that were scored (sha256 {row.sha256.hex()[:16]}... expected)"
    where = "" if unit.url == unit.shard else f" ({unit.url})"
    return SourceChangedError(
        f"{row.shard}{where}: record {row.key!r} (index {row.index}): {found}. The source changed since it was scored: "
        "restore it, or score it again."
    )
