"""The index of a subset: where every image came from, where it is now, and its quality, tier and weight."""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.curation.subset_source import KeptRow
from fiqa_core.storage import open_read, stat
from schemas.subset_index import SCHEMA

_ROWS_AT_ONCE = 16_384
_PLAN = b"plan"


class Finished(NamedTuple):
    """What a shard's index says of it: images, and their bytes."""

    images: int
    bytes: int


class IndexWriter:
    """Writes one index file; a context manager, at whose end the file is whole."""

    def __init__(self, path: Path, plan: str) -> None:
        self.plan = plan
        self._schema = SCHEMA.with_metadata({_PLAN: plan.encode()})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._columns: list[list[Any]] = [[] for _ in SCHEMA]
        self.images = 0
        self.bytes = 0

    def add(self, row: KeptRow, size: int, out_shard: str, out_key: str) -> None:
        """One more image, behind the others of its shard."""
        values = (
            *(out_shard, out_key, self.images, row.shard, row.key, row.index, row.label, row.number),
            *(row.quality, row.tier, row.weight, size, row.sha256),
        )
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        self.images += 1
        self.bytes += size
        if len(self._columns[0]) == _ROWS_AT_ONCE:
            self._flush()

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.table(self._columns, schema=self._schema))
        self._columns = [[] for _ in SCHEMA]


def finished(index: str, plan: str, images: int, data: str | None = None) -> Finished | None:
    """What an index says of a shard that lies there whole; None where it has to be written.

    Args:
        index: URL of the index, which is published last. plan: digest it must have. images: how many it must name.
        data: URL of the shard's file, which must be there and large enough for the images; None: not looked at.
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
