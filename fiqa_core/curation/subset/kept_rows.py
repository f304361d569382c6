"""The kept rows of a decisions file in order, taken as their images are read."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.subset.labels import numbers
from fiqa_core.curation.subset.settings import Slice, SourceChangedError
from fiqa_core.storage import open_read

_COLUMNS = ["keep", "key", "shard", "index", "label", "quality", "tier", "weight", "sha256"]
_ROWS_AT_ONCE = 8192


class KeptRows:
    """The rows of a slice, each given once; their columns are those of the decisions, and `number`.

    Raises (from its methods):
        SourceChangedError: the file has fewer rows than were planned.
    """

    def __init__(self, piece: Slice, known: pa.Array | None) -> None:
        self._tables = _tables(piece, known)
        self._ahead: pa.Table | None = next(self._tables, None)

    def next_index(self) -> int | None:
        """`index` of the next row; None after the last."""
        return None if self._ahead is None else int(self._ahead["index"][0].as_py())

    def until(self, index: int) -> pa.Table | None:
        """The rows up to this `index`; None if there are none."""
        found = []
        while self._ahead is not None:
            count = int(np.searchsorted(self._ahead["index"].to_numpy(), index, "right"))
            if count:
                found.append(self._ahead.slice(0, count))
            if count < self._ahead.num_rows:
                self._ahead = self._ahead.slice(count)
                break
            self._ahead = next(self._tables, None)
        return pa.concat_tables(found).combine_chunks() if found else None

    def give_back(self, rows: pa.Table) -> None:
        """Take back rows that `until` gave last; they are given again."""
        self._ahead = rows if self._ahead is None else pa.concat_tables([rows, self._ahead]).combine_chunks()

    def rest(self) -> Iterator[pa.Table]:
        """All remaining rows."""
        while self._ahead is not None:
            rows, self._ahead = self._ahead, None
            yield rows
            self._ahead = next(self._tables, None)


def sha256_of(rows: pa.Table) -> bytes:
    """The digests of all rows, joined."""
    column = rows["sha256"].combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    array = array.cast(pa.binary(32))
    return bytes(array.buffers()[1])[32 * array.offset : 32 * (array.offset + len(array))]


def _tables(piece: Slice, known: pa.Array | None) -> Iterator[pa.Table]:
    skip, take = piece.skip, piece.take
    with open_read(piece.decisions) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
            kept = pa.Table.from_batches([batch]).filter(batch["keep"]).drop_columns(["keep"])
            rows = kept.slice(min(skip, kept.num_rows), take).combine_chunks()
            skip, take = max(0, skip - kept.num_rows), take - rows.num_rows
            if rows.num_rows:
                tier = rows["tier"].cast(pa.string())
                rows = rows.set_column(rows.schema.get_field_index("tier"), "tier", tier)
                dense = pa.nulls(rows.num_rows, pa.int32()) if known is None else numbers(rows["label"], known)
                yield rows.append_column("number", dense)
            if not take:
                return
    raise SourceChangedError(f"{piece.decisions}: changed since the subset was planned. Write the subset again.")
