"""Columns that are called like an identity but have a different value in every row: they number rows, not people."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.column_labels import find_label, has_column, holds_label, is_bytes, is_text, texts
from fiqa_core.shards.label_text import LABEL_FIELDS, hints, names_in
from fiqa_core.shards.parquet.groups import FOOTER_BLOCK
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import StorageError, open_read

_log = logging.getLogger(__name__)
# `id` is as often a row's as a person's: it is not a label if all values looked at differ, however few they are. Other
# names count as labels unless more values differ than chance allows (of 10 million identities, drawn at random,
# 20,000 are all different once in 500 million times).
_ROW_NAMES = frozenset({"id"})
_LOOKED_AT = 20_000
_FILES = 16
_ROWS_AT_ONCE = 1024
_SEPARATOR = "\n"


@dataclass
class _Seen:
    """Values of one column. `values`: of the file at hand for a name such as `id`, of all files for other names."""

    count: int = 0
    repeated: bool = False
    values: set[str] = field(default_factory=set)

    def add(self, values: Sequence[str | None]) -> None:
        for value in values:
            if value is not None:
                self.count += 1
                self.repeated = self.repeated or value in self.values
                self.values.add(value)


def mark_row_numbers(units: Sequence[Unit], read: ReadSettings) -> list[Unit]:
    """The same units, with the columns that cannot be the label in their `listing`.

    Decided once for the whole dataset, so that all shards take their labels from the same column. At most 20,000 values
    of some files are read, and only until one occurs twice.
    """
    files = list(dict.fromkeys(u.url for u in units if u.records > 0))
    if read.label_field or not files:
        return list(units)
    chosen = [files[place] for place in range(0, len(files), -(-len(files) // _FILES))]
    looked_at = set(chosen)
    rows = sum(unit.records for unit in units if unit.url in looked_at)
    found: list[str] = []
    while name := _row_number(chosen, rows, read, found):
        found.append(name)
    if not found:
        return list(units)
    listing = _SEPARATOR.join(found)
    return [replace(u, listing=listing) if u.records >= 0 else u for u in units]


def passed_over(unit: Unit) -> list[str]:
    """The columns that `mark_row_numbers` found."""
    return unit.listing.split(_SEPARATOR) if unit.listing else []


def _row_number(files: Sequence[str], rows: int, read: ReadSettings, known: Sequence[str]) -> str | None:
    """The next column that would be the label, if it only numbers rows, else None; `rows`: of these files."""
    name, others = "", ""
    seen = _Seen()
    for url in files:
        for column, schema, values in _values(url, rows, read, known):
            if name and column != name:
                break
            name = column
            others = others or hints(c for c in schema.names if c != name and has_column(schema, c, holds_label))
            seen.add(values)
            if seen.repeated or seen.count >= _LOOKED_AT:
                break
        if seen.repeated or seen.count >= _LOOKED_AT:
            break
        if _is_row_name(name):
            seen.values.clear()
    if not name or seen.repeated or seen.count < (2 if _is_row_name(name) else _LOOKED_AT):
        return None
    _log.warning(
        "column %r has another value in every row (%d looked at), so it is not taken for the label. Columns that "
        "look like one: %s. Name the one to take by --label-field.",
        name,
        seen.count,
        others or "none",
    )
    return name


def _is_row_name(name: str) -> bool:
    return name.casefold() in _ROW_NAMES


def _values(
    url: str, rows: int, read: ReadSettings, known: Sequence[str]
) -> Iterator[tuple[str, pa.Schema, list[str | None]]]:
    """The column of a file that would be its label, its schema, and values of the column, some at a time.

    Yields nothing if there are too few rows to decide: planning should read footers only.
    """
    try:
        with open_read(url, "", FOOTER_BLOCK) as stream:
            footer = pq.ParquetFile(stream)
            schema = footer.schema_arrow
            if not names_in(schema.names, LABEL_FIELDS):
                return
            label = find_label(schema, "", read.image_field, url, known)
            # Bytes may be the images.
            if not label.column or is_bytes(schema.field(label.column).type):
                return
            if rows < _LOOKED_AT and not _is_row_name(label.column):
                return
            text = [label.column] if is_text(schema.field(label.column).type) else None
            file = pq.ParquetFile(
                stream, metadata=footer.metadata, read_dictionary=text, pre_buffer=False, buffer_size=1 << 16
            )
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[label.column]):
                yield label.column, schema, _few(batch.column(0))
    except StorageError:
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError):
        return  # reading it will report this


def _few(column: pa.Array) -> list[str | None]:
    """The values; if a dictionary's value is used twice, only two equal texts (the values may be millions of bytes)."""
    if pa.types.is_dictionary(column.type):
        places = column.indices.drop_null()
        if len(places.unique()) < len(places):
            return ["again", "again"]
    return texts(column)
