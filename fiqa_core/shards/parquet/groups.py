"""Row groups of a Parquet file: opened, checked against the file's bytes, cut into units, read a few rows at a time.

From pyarrow's footer only the schema and the row groups' rows and sizes are read: reading a column chunk's metadata
ends the process if its statistics are damaged (pyarrow 25 does not catch that).
"""

from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.errors import FiqaError
from fiqa_core.shards.parquet.pages import PageGuard, SmallerBatches
from fiqa_core.storage import StorageError

ROWS_AT_ONCE = 64
FOOTER_BLOCK = 256 << 10  # bytes a request while planning, which reads little but the end of a file
_BUFFER_BYTES = 1 << 20
_ROWS_OF_ANY_FILE = 1 << 16
_MOST_PIECES = 16
_PASSED_OVER_BYTES = 32 << 30


class ClaimError(FiqaError, ValueError):
    """The footer cannot be true."""


class Run(NamedTuple):
    """Row groups `start` to `stop`, or some rows of one: `rows` from row `first` of the file on, of `size` bytes."""

    start: int
    stop: int
    first: int
    rows: int
    size: int


class RowGroups:
    """A Parquet file that is open; `rows` of each row group.

    Raises:
        ClaimError: the footer says what cannot be. Whatever else Arrow raises: see `content_fault`.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.size = stream.seek(0, 2)
        stream.seek(0)
        self._guard = PageGuard(stream)
        # pre_buffer=False and a small buffer: pages are read as they are needed, so a row group of a gigabyte costs a
        # megabyte.
        self._file = pq.ParquetFile(
            self._guard, pre_buffer=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
        )
        footer = self._file.metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        self.rows = [group.num_rows for group in groups]
        self._bytes = [max(1, group.total_byte_size) for group in groups]
        self.schema: pa.Schema = self._file.schema_arrow
        self._refuse()

    def runs(self, unit_size: int) -> Iterator[Run]:
        """Whole row groups until a run has at least `unit_size` rows; a group of twice as many is cut by rows."""
        total = sum(self._bytes)
        start = first = rows = weight = 0
        for number, (count, size) in enumerate(zip(self.rows, self._bytes, strict=True)):
            if count >= 2 * unit_size:
                if number > start:
                    yield Run(start, number, first, rows, self._share(weight, total))
                yield from self._pieces(number, first + rows, unit_size, self._share(size, total))
                start, first, rows, weight = number + 1, first + rows + count, 0, 0
                continue
            rows, weight = rows + count, weight + size
            if rows >= unit_size or number + 1 == len(self.rows):
                yield Run(start, number + 1, first, rows, self._share(weight, total))
                start, first, rows, weight = number + 1, first + rows, 0, 0
        if start < len(self.rows):
            yield Run(start, len(self.rows), first, rows, self._share(weight, total))

    def batches(self, group: int, columns: Sequence[str], skip: int) -> Iterator[pa.RecordBatch]:
        """The rows of a group behind the first `skip`, in batches of a bounded number of bytes.

        Skipped rows are decoded too, some at a time, since Arrow cannot enter a group in the middle. Where decoding
        fails, the rows are read again one by one, so that all rows before the damage are found.
        """
        at_once, done = ROWS_AT_ONCE, skip
        while True:
            place = 0
            try:
                for batch in self._batches(group, columns, at_once):
                    passed = max(0, done - place)
                    place += batch.num_rows
                    if place > done:
                        done = place
                        yield batch.slice(passed)
                return
            except SmallerBatches as smaller:
                at_once = smaller.rows
            except Exception as error:
                if is_store_failure(error) or at_once == 1:
                    raise
                at_once = 1

    def _batches(self, group: int, columns: Sequence[str], at_once: int) -> Iterator[pa.RecordBatch]:
        self._guard.watch(at_once)
        for batch in self._file.iter_batches(at_once, row_groups=[group], columns=list(columns), use_threads=False):
            self._guard.next_batch()
            yield batch

    def _refuse(self) -> None:
        if any(count < 0 for count in self.rows):
            raise ClaimError("its footer names a row group with fewer than no rows")
        rows = sum(self.rows)
        # An image has at least a byte; only equal or null images take less, and then few rows are usual.
        if rows > max(_ROWS_OF_ANY_FILE, self.size):
            raise ClaimError(f"its footer claims {rows} rows, but the file has {self.size} bytes")

    def _share(self, weight: int, total: int) -> int:
        return self.size * weight // max(1, total)

    def _pieces(self, group: int, first: int, unit_size: int, size: int) -> Iterator[Run]:
        count = self.rows[group]
        most = max(_MOST_PIECES, _PASSED_OVER_BYTES // max(1, size))
        pieces = min(round(count / unit_size), most)
        for number in range(pieces):
            start, stop = count * number // pieces, count * (number + 1) // pieces
            yield Run(group, group + 1, first + start, stop - start, size * (stop - start) // count)


def is_store_failure(error: BaseException) -> bool:
    """Whether the store failed, and not the file's content (Arrow's own errors have no errno)."""
    return isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno is not None)
