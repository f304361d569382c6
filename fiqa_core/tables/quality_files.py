"""The quality table as curation sees it: files in a fixed order, and one number (`rid`) for every row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.lines_error import LinesError
from fiqa_core.runs.layout import PLAN, QUALITY, UNITS
from fiqa_core.shards.formats import listing_in_plan
from fiqa_core.shards.unit import PLAN_SCHEMA, Unit
from fiqa_core.storage import (
    above,
    absolute,
    expand_glob,
    has_glob,
    in_flight,
    is_folder,
    join,
    list_names,
    open_read,
    stat,
    without_query,
)
from fiqa_core.wording import one_line
from schemas.quality import COLUMNS

_FOOTERS_AT_ONCE = 16
_NEEDED = ("key", "shard", "index", "quality", "status", "sha256")


class TableError(LinesError):
    """A quality table cannot be used as given; the message says which, what was found and what to do."""


class Labels(Protocol):
    """Labels by key that a table has in place of its own (`attached_labels`)."""

    digest: str
    without: int  # rows of the table that have no label there

    def of(self, keys: pa.Array) -> pa.Array:
        """The label of each key, as text; null where there is none."""


class Corrections(Protocol):
    """Right labels of single images, by the SHA-256 of their bytes (`curation/decisions/reviewed_labels.py`)."""

    digest: str
    has_labels: bool  # whether the file (or what is attached to it) has labels to correct

    def of(self, digests: pa.Array, labels: pa.Array) -> pa.Array:
        """The labels (text), with those of the corrected images replaced."""


@dataclass(frozen=True)
class TableFile:
    """One file of a quality table.

    Attributes:
        number: of the file among all files, from 0. url: of the file.
        first: `rid` of its first row; the rid of a row is `first` + its row number in the file. rows: number of rows.
        columns: names of its columns. embedding_dim: numbers in one embedding, 0 where it has none.
        unit: the unit of the dataset that it covers, None if the plan is not beside the table.
        labels: what its column `label` is replaced by when it is read (`--labels`), None: nothing.
        corrections: single labels that are replaced after that (`--review`), None: none.
    """

    number: int
    url: str
    first: int
    rows: int
    columns: tuple[str, ...]
    embedding_dim: int = 0
    unit: Unit | None = None
    labels: Labels | None = field(default=None, compare=False)
    corrections: Corrections | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.url.rpartition("/")[2]


def find_parts(tables: Sequence[str], after: Sequence[TableFile] = ()) -> tuple[TableFile, ...]:
    """All files of quality tables, numbered: tables in the order given, the files of each by name.

    Args:
        tables: outputs of scoring runs, their `quality` folders, single Parquet files, or globs.
        after: files found before; numbers and rids continue after theirs.

    Raises:
        TableError: nothing there, or a file that is not a quality table.
    """
    return parts_of([url for table in tables for url in table_files(table)], after)


def parts_of(files: Sequence[str], after: Sequence[TableFile] = ()) -> tuple[TableFile, ...]:
    """The same for files whose URLs are known."""
    urls = list(dict.fromkeys(files))
    units = {folder: units_beside(folder) for folder in {_folder(url) for url in urls}}
    parts: list[TableFile] = []
    first = sum(part.rows for part in after)
    for number, part in enumerate(in_flight(urls, _look_at, _FOOTERS_AT_ONCE), len(after)):
        unit = units[_folder(part.url)].get(part.name)
        parts.append(replace(part, number=number, first=first, unit=unit))
        first += part.rows
    return tuple(parts)


def label_digests(parts: Sequence[TableFile]) -> list[str]:
    """Digests of the labels that are attached and of their corrections; none where the tables have their own."""
    attached = (source for part in parts for source in (part.labels, part.corrections) if source is not None)
    return list(dict.fromkeys(source.digest for source in attached))


def table_files(table: str) -> list[str]:
    """URLs of the Parquet files that a table consists of, by name (see `find_parts`)."""
    if has_glob(table):
        urls = [absolute(file.url) for file in expand_glob(table) if without_query(file.url).endswith(".parquet")]
    elif is_folder(table):
        folder = join(table, QUALITY) if QUALITY in list_names(table) else table
        urls = [join(absolute(folder), name) for name in sorted(list_names(folder)) if name.endswith(".parquet")]
    elif stat(table) is not None:
        urls = [absolute(table)]
    else:
        raise TableError(f"{table}: no such file or folder. Expected the output of fiqa score, or its `quality`.")
    if not urls:
        raise TableError(f"{table}: holds no .parquet files. Expected the output of fiqa score, or its `quality`.")
    return urls


def _look_at(url: str) -> TableFile:
    try:
        with open_read(url) as stream:
            footer = pq.ParquetFile(stream)
            schema: pa.Schema = footer.schema_arrow
            rows: int = footer.metadata.num_rows
    except pa.ArrowException as error:
        reason = one_line(error)
        raise TableError(f"{url}: not readable as Parquet ({reason}). Score its part again with --resume.") from error
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise TableError(
            f"{url}: not a quality table: the column {missing[0]!r} is missing. Expected {', '.join(COLUMNS)}."
        )
    _check_types(url, schema)
    dim = 0
    if "embedding" in schema.names and pa.types.is_fixed_size_list(schema.field("embedding").type):
        dim = schema.field("embedding").type.list_size
    return TableFile(0, url, 0, rows, tuple(schema.names), dim)


def _check_types(url: str, schema: pa.Schema) -> None:
    """Refuse columns whose types do not fit a quality table, before any row is read."""
    for name, (fits, expected) in _TYPES.items():
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not fits(plain):
            raise TableError(f"{url}: the column {name!r} is {kind}, expected {expected}.")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_digest(kind: pa.DataType) -> bool:
    """32 bytes a row: a fixed size, or bytes whose length is checked where they are read."""
    types = pa.types
    fixed = types.is_fixed_size_binary(kind) and kind.byte_width == 32
    return bool(fixed or types.is_binary(kind) or types.is_large_binary(kind) or types.is_null(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_label(kind: pa.DataType) -> bool:
    return _is_text(kind) or _is_number(kind)


_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "key": (lambda kind: _is_text(kind) or bool(pa.types.is_null(kind)), "text"),
    "shard": (_is_text, "text"),
    "index": (lambda kind: bool(pa.types.is_integer(kind)), "whole numbers"),
    "label": (_is_label, "text or numbers"),
    "quality": (_is_number, "numbers"),
    "status": (_is_text, "text"),
    "sha256": (_is_digest, "32 bytes"),
    "phash": (
        lambda kind: _is_text(kind) or kind == pa.uint64(),
        "16 hexadecimal digits (in earlier tables: uint64)",
    ),
}


def _folder(url: str) -> str:
    return url.rpartition("/")[0]


def units_beside(quality: str) -> dict[str, Unit]:
    """The units of the run that owns this `quality` folder, by file name; empty if its plan is missing.

    Raises:
        TableError: the plan is damaged.
    """
    output = above(quality)
    if output is None:
        return {}
    place = join(output, UNITS)
    if stat(place) is None:
        return {}
    try:
        with open_read(place) as stream:
            rows = pq.read_table(stream).select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA).to_pylist()
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise TableError(
            f"{place}: not readable as the plan of a run ({one_line(error, 200)}). Score the set again, "
            "or copy its `quality` folder elsewhere to use it without its plan."
        ) from error
    units: dict[str, Unit] = {}
    for row in rows:
        name = str(row.pop("file"))
        if row["listing"] and listing_in_plan(row["container"]):
            # The listing lies beside the table, also after both were moved.
            row["listing"] = join(output, PLAN, row["listing"].rpartition("/")[2])
        units[name] = Unit(**row)
    return units
