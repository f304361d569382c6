"""Rows as people have them (pandas, Arrow, DuckDB, mappings) as plain mappings, a few hundred at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from fiqa_core.tables.quality_files import TableError

_NEEDED = ("shard", "index")
_LEFT_OUT = {"embedding", "thumb"}  # thousands of numbers a row, which no caption shows
_DIGEST_BYTES = 32


def batches_of(rows: Any, count: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The rows in order, at most `count` at a time; values are Python's own, and None where there is none.

    Raises:
        TableError: a table without the columns `shard` and `index`, or something that is not rows.
    """
    if hasattr(rows, "to_arrow_table"):  # a DuckDB relation
        rows = rows.to_arrow_table()
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    if isinstance(rows, pa.Table):
        _check(rows.column_names)
        chosen = rows.select([name for name in rows.column_names if name not in _LEFT_OUT])
        for first in range(0, chosen.num_rows, count):
            yield chosen.slice(first, count).to_pylist()
        return
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        names = [str(name) for name in rows.columns]
        _check(names)
        chosen = rows[[name for name in rows.columns if name not in _LEFT_OUT]]
        for first in range(0, len(chosen), count):
            part = chosen.iloc[first : first + count]
            yield [{str(name): _plain(value) for name, value in row.items()} for row in part.to_dict("records")]
        return
    if isinstance(rows, Mapping):
        rows = [rows]
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise TableError(f"expected rows (a DataFrame, an Arrow table, mappings), found {type(rows).__name__}")
    stream = iter(rows)
    while batch := list(islice(stream, count)):
        for row in batch:
            if not isinstance(row, Mapping):
                raise TableError(f"expected rows (mappings with `shard` and `index`), found {type(row).__name__}")
        yield [{str(name): _plain(row[name]) for name in row if name not in _LEFT_OUT} for row in batch]


def digest_of(value: Any) -> bytes | None:
    """The 32 bytes of a sha256, given as bytes or in hexadecimal; None if there is none."""
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value.strip())
        except ValueError:
            return None
    if isinstance(value, bytes | bytearray | memoryview) and len(value) == _DIGEST_BYTES:
        return bytes(value)
    return None


def _check(names: Sequence[str]) -> None:
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise TableError(
            f"the rows have no column {missing[0]!r}, so where their images lie is not known; they have "
            f"{', '.join(names[:12])}"
        )


def _plain(value: Any) -> Any:
    """A value without NumPy's and pandas' own kinds of "nothing"."""
    if value is None or isinstance(value, str | bytes):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    try:
        return None if value != value else value  # NaN is not itself
    except TypeError:  # pandas.NA has no truth
        return None
    except ValueError:  # an array
        return value
