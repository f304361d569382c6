"""Quality tables in a notebook: pandas, Arrow or DuckDB, with what each column means.

from fiqa_core.tables import column_meanings, embedding_matrix, load_quality

faces = load_quality("out")                      # pandas.DataFrame
faces.attrs["columns"]["quality"]["direction"]   # 'higher = more useful for face recognition'
column_meanings()["width"]                       # {'description': ..., 'unit': 'pixels'}
load_quality("out", to="duckdb").filter("quality < 0.3").order("quality").limit(10)
embedding_matrix("out")                          # float32 (rows, D)
"""

import os
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from fiqa_core.storage import absolute, open_read
from fiqa_core.tables.columns import as_matrix
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.row_batches import checked
from fiqa_core.tables.whole_tables import whole_tables
from fiqa_core.wording import one_line
from schemas.quality import COLUMNS, MEASURES, column_metadata
from schemas.units import DIRECTIONS, UNITS

FORMS = ("pandas", "arrow", "duckdb")
# NumPy's integers have no null: a column with nulls would become floats, and floats round a 64-bit hash.
_NULLABLE: dict[pa.DataType, Any] = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def load_quality(
    place: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    to: str = "pandas",
    allow_incomplete: bool = False,
) -> Any:
    """The quality table of a scoring run, all its files in order.

    Args:
        place: output of a scoring run, its `quality` folder, a Parquet file or a glob; on any store.
        columns: which to read; None: all but the embeddings (those come as a matrix: `embedding_matrix`).
        to: `pandas` (a DataFrame; `status` is categorical, whole numbers are nullable, so that
            none is rounded; `attrs["columns"]` has description, unit and direction of each column, `attrs["table"]`
            the address of the table), `arrow` (a Table;
            they are in each field's metadata) or `duckdb` (a relation, which has no place for them:
            `column_meanings`).
        allow_incomplete: log what is missing (units, ends of shards, the end of the run) instead of refusing the table.

    Raises:
        TableError: nothing there, a file that is not Parquet, a column that is missing, a table that is not complete,
            or files of several networks.
    """
    if to not in FORMS:
        raise ValueError(f"to={to!r} is not known; expected one of {', '.join(FORMS)}")
    table = _read(os.fspath(place), columns, allow_incomplete)
    if to == "arrow":
        return table
    if to == "duckdb":
        return duckdb.from_arrow(table)
    frame = table.to_pandas(types_mapper=_NULLABLE.get)
    frame.attrs["columns"] = column_meanings(table.column_names)
    frame.attrs["table"] = absolute(os.fspath(place))
    return frame


def column_meanings(columns: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """`description`, `unit` and `direction` (the last two where there are any) of columns; None: of all known."""
    return {name: _meaning(name) for name in (COLUMNS if columns is None else columns)}


def embedding_matrix(place: str | os.PathLike[str], allow_incomplete: bool = False) -> np.ndarray:
    """The embeddings of a table, floats (rows, D) in the order of its rows; NaN for a row without.

    Raises:
        TableError: the table has no embeddings, or is not whole (unless `allow_incomplete`).
    """
    where = os.fspath(place)
    return as_matrix(_read(where, ["embedding"], allow_incomplete)["embedding"], where)


def _read(place: str, columns: Sequence[str] | None, allow_incomplete: bool) -> pa.Table:
    tables = []
    for url in whole_tables([place], allow_incomplete).urls:
        try:
            with open_read(url) as stream:
                file = checked(stream)
                names = file.schema_arrow.names
                wanted = [name for name in names if name != "embedding"] if columns is None else list(columns)
                missing = [name for name in wanted if name not in names]
                if missing:
                    raise TableError(f"{url}: has no column {missing[0]!r}; it has {', '.join(names)}")
                tables.append(file.read(columns=wanted))
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
                raise  # the store failed; for a damaged file Arrow raises a bare OSError
            raise TableError(f"{url}: not readable as Parquet ({one_line(error, 200)})") from error
    if not tables:
        raise TableError(f"{place}: none of its files is readable")
    if len({table.schema for table in tables}) > 1:
        tables = [_in_current_types(table) for table in tables]
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    described = [field.with_metadata(_meaning(field.name)) for field in table.schema]
    return table.replace_schema_metadata(None).cast(pa.schema(described))


def _in_current_types(table: pa.Table) -> pa.Table:
    """The table with the column types of the current version."""
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(name).type
        if pa.types.is_fixed_size_binary(kind):
            table = table.set_column(place, name, table[name].cast(pa.binary()))
        elif name == "phash" and pa.types.is_integer(kind):
            texts = [None if value is None else f"{value:016x}" for value in table[name].to_pylist()]
            table = table.set_column(place, name, pa.array(texts, pa.string()))
    return table


def _meaning(name: str) -> dict[str, str]:
    if name in MEASURES:
        return column_metadata(name)
    facts = {"description": COLUMNS.get(name, ""), "unit": UNITS.get(name, ""), "direction": DIRECTIONS.get(name, "")}
    return {fact: text for fact, text in facts.items() if text}
