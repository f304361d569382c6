"""Sorted runs of packed records of a set: written by each task, merged into one stream in order of identity.

A run has blocks of bounded size, each in order of (number, position), and a listing with one row group for each block.
The merge takes the records of a range of identities, a few megabytes, from all blocks and sorts them; so each block is
read once, from its start to its end. For every record 8 bytes stay in memory.
"""

import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.subset.index import finished
from fiqa_core.curation.subset.settings import WORK, SubsetError, SubsetSettings, SubsetTask, place
from fiqa_core.curation.subset.source import kept_batches
from fiqa_core.curation.subset.summary import SubsetSummary
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.output import PackedRecords, SetOutput
from fiqa_core.storage import open_read, publish, temporary_for

_BLOCK_BYTES = 256 << 20
_MERGE_BYTES = 16 << 20
_WRITE_BYTES = 4 << 20
_ROWS_AT_ONCE = 2048
_PLAN = b"plan"
_REPEATED = ["shard", "label", "tier", "weight", "number"]
_RUN = pa.schema(
    [("packed", pa.int32()), ("bytes", pa.int64()), ("number", pa.int32())]
    + [(name, kind) for name, kind in (("key", pa.string()), ("shard", pa.string()), ("index", pa.int64()))]
    + [("label", pa.string()), ("quality", pa.float32()), ("tier", pa.string()), ("weight", pa.float32())]
    + [("sha256", pa.binary())]
)


@dataclass(frozen=True)
class Packed:
    """Records in the order of the set, as `SetOutput.pack` gives them.

    Attributes:
        records: uint8. offsets: int64 (images + 1), where each begins. sizes: int64, bytes of the images.
        numbers: int64, dense labels. rows: the columns that the index needs.
    """

    records: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    numbers: np.ndarray
    rows: pa.Table

    @property
    def plain(self) -> PackedRecords:
        """The records alone."""
        return PackedRecords(self.records, self.offsets)


def packed(kind: SetOutput, batches: Iterator[ImageBatch]) -> Iterator[Packed]:
    """The images of batches as records."""
    for batch in batches:
        records, offsets = kind.pack(batch)
        numbers = batch.rows["number"].to_numpy().astype(np.int64)
        yield Packed(records, offsets, batch.sizes, numbers, batch.rows)


def run_files(output: str, number: int) -> tuple[str, str]:
    """URLs of a task's run: records, and their listing."""
    return place(output, WORK, f"run-{number:06d}.bin"), place(output, WORK, f"run-{number:06d}.parquet")


def write_run(kind: SetOutput, task: SubsetTask, settings: SubsetSettings, output: str) -> SubsetSummary:
    """Write a task's sorted run, unless it is there."""
    rec, listing = run_files(output, task.number)
    there = finished(listing, task.plan, task.images, rec)
    if there is not None:
        return SubsetSummary(task.images, there.bytes, 1)
    total = 0
    with temporary_for(output) as data_path, temporary_for(output) as listing_path:
        schema = _RUN.with_metadata({_PLAN: task.plan.encode()})
        with (
            data_path.open("wb", buffering=_WRITE_BYTES) as data,
            pq.ParquetWriter(listing_path, schema, use_dictionary=_REPEATED) as rows,
        ):
            for block in _blocks(packed(kind, kept_batches(task, settings, output))):
                order = np.argsort(np.concatenate([one.numbers for one in block]), kind="stable")
                table = _listing(block, order, schema)
                rows.write_table(table, row_group_size=table.num_rows)
                records = [
                    view[begin:end]
                    for one in block
                    for view in [one.records.data]
                    for begin, end in zip(one.offsets[:-1].tolist(), one.offsets[1:].tolist(), strict=True)
                ]
                data.writelines(map(records.__getitem__, order.tolist()))
                total += sum(int(one.sizes.sum()) for one in block)
        publish(data_path, rec)
        publish(listing_path, listing)
    return SubsetSummary(task.images, total, 1, task.images)


def merged(runs: Sequence[tuple[str, str]]) -> Iterator[Packed]:
    """The records of all runs (records, listing) in order of (number, position).

    Raises:
        SubsetError: a run is damaged.
    """
    # The limit of open files is raised: each block has two open, and terabytes have thousands of blocks.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    blocks = [block for run in runs for block in _open_blocks(*run)]
    try:
        identities = 1 + max((int(block.numbers[-1]) for block in blocks), default=-1)
        sizes = np.zeros(identities, np.int64)
        for block in blocks:
            sizes += np.bincount(block.numbers, block.lengths, identities).astype(np.int64)
        ends = np.cumsum(sizes)
        first = 0
        while first < identities:
            before = ends[first] - sizes[first]
            stop = max(first + 1, int(np.searchsorted(ends, before + _MERGE_BYTES, "right")))
            pieces = (piece for block in blocks for piece in block.below(stop))
            if stop == first + 1:
                # Records of one identity need no sorting, however many: the blocks are in order already.
                yield from pieces
            else:
                yield _in_order(list(pieces))
            first = stop
    finally:
        for block in blocks:
            block.close()


def _blocks(batches: Iterator[Packed]) -> Iterator[list[Packed]]:
    block: list[Packed] = []
    size = 0
    for batch in batches:
        block.append(batch)
        size += len(batch.records)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _listing(block: list[Packed], order: np.ndarray, schema: pa.Schema) -> pa.Table:
    rows = pa.concat_tables([one.rows for one in block])
    rows = rows.append_column("packed", pa.array(np.concatenate([np.diff(one.offsets) for one in block])))
    rows = rows.append_column("bytes", pa.array(np.concatenate([one.sizes for one in block])))
    return rows.select(schema.names).take(pa.array(order)).combine_chunks().cast(schema)


class _Block:
    """One block of a run, read from its start to its end."""

    def __init__(self, rec: str, listing: str, group: int, start: int, numbers: np.ndarray, lengths: np.ndarray):
        self.numbers, self.lengths = numbers, lengths
        self._rec = rec
        self._rows = open_read(listing)
        self._batches = pq.ParquetFile(self._rows).iter_batches(_ROWS_AT_ONCE, row_groups=[group])
        self._ahead: pa.Table | None = None
        self._data: IO[bytes] = open_read(rec)
        self._data.seek(start)
        self._at = 0

    def below(self, number: int) -> Iterator[Packed]:
        """All unread records with smaller numbers, a few megabytes at a time."""
        end = int(np.searchsorted(self.numbers, number))
        while self._at < end:
            sizes = self.lengths[self._at : end].astype(np.int64)
            count = max(1, int(np.searchsorted(np.cumsum(sizes), _MERGE_BYTES, "right")))
            offsets = np.concatenate(([0], np.cumsum(sizes[:count])))
            rows = self._next_rows(count)
            numbers = self.numbers[self._at : self._at + count].astype(np.int64)
            self._at += count
            yield Packed(self._read(int(offsets[-1])), offsets, rows["bytes"].to_numpy(), numbers, rows)

    def close(self) -> None:
        """Close both files."""
        self._rows.close()
        self._data.close()

    def _read(self, size: int) -> np.ndarray:
        data = np.empty(size, np.uint8)
        view = data.data
        while view:
            count = self._data.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise SubsetError(f"{self._rec}: ends too early. Remove it and run again with --resume.")
            view = view[count:]
        return data

    def _next_rows(self, count: int) -> pa.Table:
        found: list[pa.Table] = []
        while count:
            if self._ahead is None:
                self._ahead = pa.Table.from_batches([next(self._batches)])
            found.append(self._ahead.slice(0, count))
            count -= found[-1].num_rows
            self._ahead = self._ahead.slice(found[-1].num_rows) if found[-1].num_rows < self._ahead.num_rows else None
        return pa.concat_tables(found)


def _open_blocks(rec: str, listing: str) -> Iterator[_Block]:
    start = 0
    with open_read(listing) as stream:
        file = pq.ParquetFile(stream)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["number", "packed"])
            lengths = table["packed"].to_numpy()
            yield _Block(rec, listing, group, start, table["number"].to_numpy(), lengths)
            start += int(lengths.sum())


def _in_order(pieces: list[Packed]) -> Packed:
    """Parts of blocks, each in order, merged into one; records of one number keep the order of the parts."""
    numbers = np.concatenate([piece.numbers for piece in pieces])
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    order = np.argsort(numbers, kind="stable")
    source = np.concatenate([piece.records for piece in pieces]).data
    begins = np.cumsum(lengths) - lengths
    # Records that remain neighbours are copied together.
    seams = np.flatnonzero(np.diff(order) != 1) + 1
    firsts, lasts = order[np.append(0, seams)], order[np.append(seams - 1, -1)]
    spans = zip(begins[firsts].tolist(), (begins[lasts] + lengths[lasts]).tolist(), strict=True)
    records = np.frombuffer(bytearray().join([source[begin:end] for begin, end in spans]), np.uint8)
    rows = pa.concat_tables([piece.rows for piece in pieces]).combine_chunks().take(pa.array(order))
    sizes = np.concatenate([piece.sizes for piece in pieces])[order]
    offsets = np.concatenate(([0], np.cumsum(lengths[order])))
    return Packed(records, offsets, sizes, numbers[order], rows)
