"""Kept images read from the source, each compared with the sha256 that was scored."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.ahead import ahead
from fiqa_core.curation.subset.kept_rows import KeptRows, sha256_of
from fiqa_core.curation.subset.labels import read_labels
from fiqa_core.curation.subset.settings import Slice, SourceChangedError, SubsetSettings, SubsetTask
from fiqa_core.curation.subset.source_blocks import scanned
from fiqa_core.scoring.progress import Heartbeat
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.names import printable
from fiqa_core.shards.unit import Record, Unit

_BATCH_BYTES = 4 << 20
_BATCHES_AHEAD = 6
_BYTES_AHEAD = 48 << 20
_NONE: Mapping[str, bytes] = {}


def kept_batches(task: SubsetTask, settings: SubsetSettings, output: str) -> Iterator[ImageBatch]:
    """The images of a task in order, read and verified by a separate thread, a few batches ahead of the writer (which
    waits for the disk at the end of every shard).

    Blocks of a shard are used as a whole if they hold nothing unusual and their format supports it; the rest is read
    record by record, by the reader that scored it.

    Raises:
        SourceChangedError: an image that was scored is missing, or has other bytes.
        OSError: the store failed, or a shard is gone.
    """
    return ahead(_batches(task, settings, output), _BATCHES_AHEAD, _weight, _BYTES_AHEAD)


def _weight(batch: ImageBatch) -> int:
    """Bytes of images and of their further files that a batch holds in memory."""
    return batch.data.nbytes + sum(sum(map(len, other.values())) for other in batch.others or ())


def _batches(task: SubsetTask, settings: SubsetSettings, output: str) -> Iterator[ImageBatch]:
    known = read_labels(output, task.labels) if settings.dense else None
    position = task.first
    heartbeat = Heartbeat(output)
    for piece in task.slices:
        rows = KeptRows(piece, known)
        for batches in (scanned(piece.unit, rows, settings), _read(piece, rows, settings)):
            for batch in batches:
                yield replace(batch, position=position)
                position += len(batch)
                heartbeat.add(len(batch), 0, 0)


def _read(piece: Slice, rows: KeptRows, settings: SubsetSettings) -> Iterator[ImageBatch]:
    """The images of all remaining rows, record by record."""
    first = rows.next_index()
    if first is None:
        return
    records = _records(container_of(piece.unit).enter_at(piece.unit, first), settings)
    try:
        for table in rows.rest():
            yield from _matched(table, records, piece.unit)
    finally:
        records.close()


def _matched(rows: pa.Table, records: Iterator[tuple[Record, Mapping[str, bytes]]], unit: Unit) -> Iterator[ImageBatch]:
    done = size = 0
    data: list[bytes] = []
    others: list[Mapping[str, bytes]] = []
    digests = sha256_of(rows)
    for place, index in enumerate(rows["index"].to_pylist()):
        record, other = next((found for found in records if found[0].index >= index), (None, _NONE))
        if record is None or record.index > index or record.key is None or record.data is None:
            raise _changed(rows.slice(place, 1).to_pylist()[0], unit, record)
        if hashlib.sha256(record.data).digest() != digests[32 * place : 32 * place + 32]:
            raise _changed(rows.slice(place, 1).to_pylist()[0], unit, record)
        data.append(record.data)
        others.append(other)
        size += len(record.data) + sum(map(len, other.values()))
        if size >= _BATCH_BYTES or place == rows.num_rows - 1:
            sizes = np.fromiter(map(len, data), np.int64, len(data))
            yield ImageBatch(
                rows.slice(done, len(data)), 0, memoryview(b"".join(data)), np.cumsum(sizes) - sizes, sizes, others
            )
            done, size, data, others = place + 1, 0, [], []


def _records(unit: Unit, settings: SubsetSettings) -> Generator[tuple[Record, Mapping[str, bytes]], None, None]:
    if settings.output.keeps_others:
        yield from container_of(unit).read_samples(unit, settings.read)
    else:
        for record in container_of(unit).read(unit, settings.read):
            yield record, _NONE


def _changed(row: Mapping[str, Any], unit: Unit, record: Record | None) -> SourceChangedError:
    if record is None:
        found = "the shard ends before it"
    elif record.fault is not None:
        found = f"found: {record.fault.message}"
    elif record.index != row["index"]:
        found = f"the next record there is {printable(str(record.key))!r} (index {record.index})"
    else:
        found = f"the stored bytes are not those that were scored (sha256 {row['sha256'].hex()[:16]}... expected)"
    where = "" if unit.url == unit.shard else f" ({unit.url})"
    return SourceChangedError(
        f"{row['shard']}{where}: record {row['key']!r} (index {row['index']}): {found}. The source changed since it "
        "was scored: restore it (--moved OLD=NEW if it lies elsewhere now), or score it again."
    )
