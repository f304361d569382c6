"""Conditions on the rows of a quality table: which columns they mean, and for which rows they hold."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.storage import in_flight, open_read
from fiqa_core.tables.conditions import Condition, ConditionError, condition_database, parse_condition
from fiqa_core.tables.groups import Groups
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import damage_named, read_part
from fiqa_core.tables.row_query import plain_type

_FOOTERS_AT_ONCE = 16
_NEAR = 3


@dataclass(frozen=True)
class _Bound:
    """A condition and the columns that it means. `option`: it as the user gave it, for errors."""

    condition: Condition
    schema: pa.Schema
    option: str

    def of(self, rows: pa.RecordBatch, database: Any) -> pa.BooleanArray:
        """For rows with all columns. Raises as `rows_of_conditions`."""
        try:
            return self.condition.of(rows.select(self.schema.names), database)
        except ConditionError as error:
            types = ", ".join(f"{field.name} is {field.type}" for field in self.schema)
            raise TableError(
                f"{self.option}: {error}. {types}. Texts and times are in single quotes; a text that holds a "
                "number is written name::DOUBLE."
            ) from error


class RowConditions:
    """Conditions bound to the columns of a quality table.

    Args:
        texts: the conditions. parts: files of the table; with labels that are attached, `label` is such a label.
        groups: a file key -> group gives a column of its name, if the table has none of that name.
        option: what errors call a condition.

    Raises:
        TableError: a column that is not there (with near names), of a kind that cannot be compared, or types that do
            not go together.
    """

    def __init__(
        self, texts: Sequence[str], parts: Sequence[TableFile], groups: Groups | None = None, option: str = ""
    ) -> None:
        self._parts = parts
        own = {name for part in parts for name in part.columns} | ({"label"} if _labelled(parts) else set())
        self._groups = groups if groups is not None and groups.file is not None and groups.name not in own else None
        self._known = sorted(own | ({self._groups.name} if self._groups is not None else set()))
        conditions = [(parse_condition(text), f"{option} {text!r}".strip()) for text in texts]
        wanted = [[self._column(name, shown) for name in condition.columns] for condition, shown in conditions]
        self._types = self._plain_types(dict.fromkeys(name for names in wanted for name in names))
        self._bound = [
            _Bound(condition, pa.schema([(name, self._types[name]) for name in names]), shown)
            for (condition, shown), names in zip(conditions, wanted, strict=True)
        ]
        with condition_database() as database:
            for bound in self._bound:
                bound.of(pa.RecordBatch.from_pylist([], bound.schema), database)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are used, as the table calls them."""
        return frozenset(self._types)

    def batches(self) -> Iterator[tuple[np.ndarray, list[pa.BooleanArray]]]:
        """Row numbers (rid) of all rows in order, some at a time, and for each condition whether it holds; null where
        that cannot be said because a value is null (or not a number).

        Raises:
            TableError: a damaged file, or a value that cannot be compared (a text that is not the number it is
                compared with).
        """
        stored = [name for name in self._types if self._groups is None or name != self._groups.name]
        stored = stored if self._groups is None else list(dict.fromkeys([*stored, "key"]))
        with condition_database() as database:
            for part in self._parts if self._bound else ():
                first = part.first
                for batch in read_part(part, stored):
                    rows = self._rows(batch, part)
                    yield np.arange(first, first + batch.num_rows), [bound.of(rows, database) for bound in self._bound]
                    first += batch.num_rows

    def _column(self, name: str, shown: str) -> str:
        """The table's name of a column: as it is written, else the only one that differs in capitals."""
        found = [name] if name in self._known else [each for each in self._known if each.lower() == name.lower()]
        if len(found) > 1:
            raise TableError(f"{shown}: the column {name!r} may be {' or '.join(found)}: write it as it is")
        if not found:
            near = difflib.get_close_matches(name, self._known, _NEAR, 0.5)
            meant = f" Did you mean {' or '.join(near)}?" if near else " A text is in single quotes."
            raise TableError(f"{shown}: the table has no column {name!r}.{meant} Columns: {', '.join(self._known)}.")
        is_given = (self._groups is not None and found[0] == self._groups.name) or found[0] == "label"
        lacking = next((part for part in self._parts if found[0] not in part.columns), None)
        if lacking is not None and not is_given:
            raise TableError(f"{shown}: {lacking.url} does not have the column {found[0]!r}, which other files have")
        return found[0]

    def _plain_types(self, names: Sequence[str] | dict[str, None]) -> dict[str, pa.DataType]:
        given = {name: pa.string() for name in names if self._is_text(name)}
        stored = [name for name in names if name not in given]
        urls = [part.url for part in self._parts] if stored else []
        schemas = list(in_flight(urls, lambda url: _schema(url, stored), _FOOTERS_AT_ONCE))
        try:
            whole = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
        except pa.ArrowException as error:
            raise TableError(f"{self._parts[0].url}: its files have columns of different types ({error})") from error
        found = {name: whole.field(name).type for name in stored}
        for name, kind in found.items():
            if pa.types.is_nested(kind):
                raise TableError(f"the column {name!r} is {kind}, which no condition can compare")
        return {name: given.get(name) or found[name] for name in names}

    def _is_text(self, name: str) -> bool:
        """Whether a column is not that of the files: a group of a file, or a label that is attached or missing."""
        if self._groups is not None and name == self._groups.name:
            return True
        return name == "label" and (_labelled(self._parts) or any(name not in part.columns for part in self._parts))

    def _rows(self, batch: pa.RecordBatch, part: TableFile) -> pa.RecordBatch:
        columns = []
        for name, kind in self._types.items():
            if self._groups is not None and self._groups.file is not None and name == self._groups.name:
                column = self._groups.file.of(batch.column("key").cast(pa.string()))
            elif name in batch.schema.names:
                column = batch.column(name)
            else:
                column = pa.nulls(batch.num_rows, kind)
            columns.append(_plain(column, kind, part))
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(self._types.items())))


def _labelled(parts: Sequence[TableFile]) -> bool:
    return any(part.labels is not None or part.corrections is not None for part in parts)


def _schema(url: str, names: Sequence[str]) -> pa.Schema:
    with damage_named(url), open_read(url) as stream:
        schema = pq.ParquetFile(stream).schema_arrow
    return pa.schema([(name, _comparable(schema.field(name).type)) for name in names])


def _comparable(kind: pa.DataType) -> pa.DataType:
    """A plain type in which no small number overflows."""
    plain = plain_type(kind)
    if pa.types.is_integer(plain) and plain != pa.uint64():
        return pa.int64()
    return pa.float32() if pa.types.is_float16(plain) else plain


def _plain(column: pa.Array, kind: pa.DataType, part: TableFile) -> pa.Array:
    try:
        plain = column if column.type == kind else column.cast(kind)
    except pa.ArrowException as error:
        raise TableError(f"{part.url}: a column is {column.type}, expected {kind} ({error})") from error
    if pa.types.is_floating(kind):
        # NaN is how some tools write that there is no value; DuckDB would call it larger than every number.
        return pc.if_else(pc.fill_null(pc.is_nan(plain), False), None, plain)
    return plain
