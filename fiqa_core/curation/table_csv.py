"""A quality table as CSV: all rows, with the reason where there is no score."""

import csv
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.csv_cells import defused_column
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_part

_NOT_TEXT = ("embedding", "thumb")  # they have thousands of characters a row
_HEXADECIMAL = ("sha256",)
_NAMES = ("key", "shard", "label", "message")


def csv_columns(parts: Sequence[TableFile], wanted: Sequence[str] = ()) -> list[str]:
    """The columns of a CSV file: those that are wanted, else all that all files have but embeddings and thumbnails.

    Raises:
        TableError: a wanted column that a file does not have, or that CSV cannot hold.
    """
    shared = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    for name in wanted:
        if name not in shared or name in _NOT_TEXT:
            there = ", ".join(name for name in shared if name not in _NOT_TEXT)
            raise TableError(f"{parts[0].url}: no column {name!r} for a CSV file. Columns: {there}.")
    return list(wanted) or [name for name in shared if name not in _NOT_TEXT]


def write_csv(parts: Sequence[TableFile], columns: Sequence[str], path: Path) -> int:
    """Write a header and a line for every row (RFC 4180, UTF-8); returns the rows.

    Digests are in hexadecimal, lists (box, landmarks, crops) in JSON.
    Names that a spreadsheet would take for a formula have an apostrophe before them (`csv_cells.restored`).
    """
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for part in parts:
            for batch in read_part(part, columns):
                cells = [_cells(name, batch.column(name)) for name in columns]
                writer.writerows(zip(*cells, strict=True))
                rows += batch.num_rows
    return rows


def _cells(name: str, column: pa.Array) -> list[str | None]:
    if name in _HEXADECIMAL:
        return [None if value is None else value.hex() for value in column.to_pylist()]
    if pa.types.is_list(column.type):  # box, landmarks and crops of an aligned picture
        return _lists(column)
    texts = column.cast(pa.string())
    return list((defused_column(pa.chunked_array([texts])) if name in _NAMES else texts).to_pylist())


def _lists(column: pa.ListArray) -> list[str | None]:
    flat = column.flatten()
    # Numbers by Arrow: the digits of a float32, not of the float64 that Python would make of it.
    texts = map(json.dumps, flat.to_pylist()) if pa.types.is_string(flat.type) else flat.cast(pa.string()).to_pylist()
    items = iter(texts)
    lengths = pc.list_value_length(column).to_pylist()
    return [None if length is None else f"[{', '.join(islice(items, length))}]" for length in lengths]
