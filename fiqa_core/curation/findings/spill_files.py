"""Spill files: rows with embeddings, sorted from their source files into partitions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fiqa_core.storage import open_read


class Spilled(NamedTuple):
    """Rows of one partition.

    rid int64 (n,); tag int64 (n, t): what the stage needs of each row; vector float16 (n, d), unit length.
    """

    rid: np.ndarray
    tag: np.ndarray
    vector: np.ndarray


class SpillWriter:
    """An Arrow file with one batch for each partition in every round, so that a partition is read without the
    others."""

    def __init__(self, path: Path, partitions: int, tags: int, dim: int) -> None:
        self._partitions = partitions
        self._schema = pa.schema(
            [
                ("rid", pa.int64()),
                ("tag", pa.list_(pa.int64(), tags)),
                ("vector", pa.list_(pa.float16(), dim)),
            ]
        )
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def write(self, rows: Spilled, partition: np.ndarray) -> None:
        """Write one round: rows, and the partition of each row (int, (n,))."""
        order = np.argsort(partition, kind="stable")
        ends = np.searchsorted(partition[order], np.arange(self._partitions), "right")
        start = 0
        for end in ends:
            at = order[start:end]
            self._writer.write_batch(self._batch(Spilled(rows.rid[at], rows.tag[at], rows.vector[at])))
            start = int(end)

    def _batch(self, rows: Spilled) -> pa.RecordBatch:
        columns = [pa.array(rows.rid)]
        for name, values in (("tag", rows.tag), ("vector", rows.vector)):
            kind = self._schema.field(name).type
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind))
        return pa.record_batch(columns, schema=self._schema)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._file.close()


def read_spilled(urls: Sequence[str], partition: int | None, partitions: int) -> Iterator[Spilled]:
    """The rows of one partition (None: of all) from spill files, batch by batch."""
    for url in urls:
        with open_read(url) as stream:
            reader = pa.ipc.open_file(stream)
            numbers = range(reader.num_record_batches)
            for number in numbers if partition is None else numbers[partition::partitions]:
                batch = reader.get_batch(number)
                if batch.num_rows:
                    yield _of_batch(batch)


def gathered(urls: Sequence[str], partition: int, partitions: int) -> Spilled | None:
    """One whole partition in memory, in order of rid; None if it is empty."""
    some = list(read_spilled(urls, partition, partitions))
    if not some:
        return None
    rid = np.concatenate([rows.rid for rows in some])
    order = np.argsort(rid, kind="stable")
    tag = np.concatenate([rows.tag for rows in some])[order]
    vector = np.empty((len(rid), some[0].vector.shape[1]), np.float16)
    place = np.empty(len(rid), np.int64)
    place[order] = np.arange(len(rid))
    start = 0
    some.reverse()
    while some:
        rows = some.pop()
        vector[place[start : start + len(rows.rid)]] = rows.vector
        start += len(rows.rid)
    return Spilled(rid[order], tag, vector)


def _of_batch(batch: pa.RecordBatch) -> Spilled:
    rows = batch.num_rows
    flat = [batch.column(name).flatten().to_numpy(zero_copy_only=False) for name in ("tag", "vector")]
    return Spilled(batch.column("rid").to_numpy(), flat[0].reshape(rows, -1), flat[1].reshape(rows, -1))
