"""Rows of Parquet files on any store, a bounded number at a time, read ahead by a thread."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.ahead import ahead
from fiqa_core.storage import open_read
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.wording import counted, one_line

T = TypeVar("T")
ROWS_AT_ONCE = 65_536
_AHEAD = 4


def read_part(part: TableFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of one file of a quality table in order.

    Raises:
        TableError: the file is damaged, or has changed since its footer was read.
    """
    rows = 0
    for batch in read_batches(part.url, stored_columns(part, columns)):
        rows += batch.num_rows
        yield labelled(part, batch, columns)
    if rows != part.rows:
        found = counted(rows, "row")
        raise TableError(f"{part.url}: {found}, {part.rows:,} a moment ago. Is a scoring run still at work on it?")


def stored_columns(part: TableFile, columns: Sequence[str]) -> list[str]:
    """What must be read of a file for these columns: where labels are attached, keys in place of labels; where some
    are corrected, digests beside them."""
    if "label" not in columns or (part.labels is None and part.corrections is None):
        return list(columns)
    stored = list(columns)
    if part.labels is not None:
        stored = ["key" if name == "label" else name for name in stored]
    if part.corrections is not None:
        stored = [name for name in stored if name != "label" or part.corrections.has_labels] + ["sha256"]
    return list(dict.fromkeys(stored))


def labelled(part: TableFile, rows: Any, columns: Sequence[str]) -> Any:
    """These columns of rows (a table or a batch with `stored_columns`), with the labels that are attached."""
    if "label" not in columns or (part.labels is None and part.corrections is None):
        return rows
    if part.labels is not None:
        labels = part.labels.of(_whole(rows, "key").cast(pa.string()))
    elif "label" in rows.schema.names:
        labels = _whole(rows, "label").cast(pa.string())
    else:
        labels = pa.nulls(rows.num_rows, pa.string())
    if part.corrections is not None:
        labels = part.corrections.of(_whole(rows, "sha256"), labels)
    found = [labels if name == "label" else rows.column(name) for name in columns]
    return type(rows).from_arrays(found, names=list(columns))


def _whole(rows: Any, name: str) -> pa.Array:
    column = rows.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def read_batches(url: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in order.

    Raises:
        TableError: the file is damaged.
    """
    with damage_named(url), open_read(url) as stream:
        yield from checked(stream).iter_batches(ROWS_AT_ONCE, columns=list(columns))


def checked(stream: Any) -> pq.ParquetFile:
    """A Parquet file whose pages are checked against their checksums, if it has any (our own tables do)."""
    return pq.ParquetFile(stream, page_checksum_verification=True)


@contextmanager
def damage_named(url: str) -> Iterator[None]:
    """Name the file if Arrow cannot read its content.

    Raises:
        TableError: the file is damaged.
    """
    try:
        yield
    except pa.ArrowException as error:
        raise TableError(f"{url}: damaged ({one_line(error)}). Write it again, then run this command again.") from error
    except OSError as error:
        # For damaged content (a page that does not unpack) Arrow raises a bare OSError.
        if type(error) is OSError and error.errno is None:
            message = f"{url}: damaged ({one_line(error)}). Write it again, then run this command again."
            raise TableError(message) from error
        raise


def read_ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items, produced a few ahead by another thread; its exceptions are raised here."""
    return ahead(items, _AHEAD)
