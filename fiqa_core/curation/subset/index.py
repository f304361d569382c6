"""The index of a subset: where every image came from, where it is now, and its quality, tier and weight."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.storage import open_read, stat
from schemas.subset_index import SCHEMA

_ROWS_AT_ONCE = 16_384
_PLAN = b"plan"
_REPEATED = ["out_shard", "shard", "label", "tier", "weight"]


class Finished(NamedTuple):
    """Contents of a shard by its index: number of images, and their bytes."""

    images: int
    bytes: int


class IndexWriter:
    """Writes one index file; a context manager, at whose end the file is complete.

    Row groups end at the same rows for any sequence of calls, so that the same subset has the same file.
    """

    def __init__(self, path: Path, plan: str) -> None:
        self.plan = plan
        self._schema = SCHEMA.with_metadata({_PLAN: plan.encode()})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=_REPEATED)
        self._ahead: list[pa.Table] = []
        self._rows = 0
        self.images = 0
        self.bytes = 0

    def add(self, rows: pa.Table, sizes: np.ndarray, out_shard: str, out_keys: Sequence[str]) -> None:
        """Add images after the others of their shard.

        Args:
            rows: columns of the decisions, and `number`. sizes: int64, bytes of the images.
        """
        count = rows.num_rows
        columns = {
            "out_shard": pa.repeat(out_shard, count),
            "out_key": pa.array(out_keys, pa.string()),
            "out_index": pa.array(np.arange(self.images, self.images + count)),
            "new_label": rows["number"],
            "bytes": pa.array(sizes),
        }
        table = pa.table({name: columns[name] if name in columns else rows[name] for name in SCHEMA.names})
        self._ahead.append(table.cast(self._schema))
        self._rows += count
        self.images += count
        self.bytes += int(sizes.sum())
        while self._rows >= _ROWS_AT_ONCE:
            self._flush(_ROWS_AT_ONCE)

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush(self._rows)
        finally:
            self._writer.close()

    def _flush(self, count: int) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *self._ahead])
        self._writer.write_table(table.slice(0, count).combine_chunks())
        self._rows -= count
        self._ahead = [table.slice(count)] if self._rows else []


def finished(index: str, plan: str, images: int, data: str | None = None) -> Finished | None:
    """The contents of a shard that is complete, by its index; None if it has to be written.

    Args:
        index: URL of the index, which is published last. plan: digest it must have. images: how many it must name.
        data: URL of the shard's file, which must exist and be large enough for the images; None: not checked.
    """
    if stat(index) is None:
        return None
    try:
        with open_read(index) as stream:
            file = pq.ParquetFile(stream)
            if (file.schema_arrow.metadata or {}).get(_PLAN) != plan.encode() or file.metadata.num_rows != images:
                return None
            size = pc.sum(file.read(columns=["bytes"])["bytes"]).as_py() or 0
    except pa.ArrowException:
        return None
    if data is not None:
        there = stat(data)
        if there is None or there.size < size:
            return None
    return Finished(images, size)
