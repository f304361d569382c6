"""Quality tables in a notebook: pandas, Arrow or DuckDB, with what each column means.

from fiqa_core.tables import embedding_matrix, load_quality

faces = load_quality("out")                      # pandas.DataFrame
faces.attrs["columns"]["quality"]["direction"]   # 'higher = more useful for face recognition'
load_quality("out", to="duckdb").filter("quality < 0.3").order("quality").limit(10)
embedding_matrix("out")                          # float32 (rows, D)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.parts import TableError, table_files
from fiqa_core.evaluation.sources import as_matrix
from fiqa_core.storage import open_read
from schemas.quality import COLUMNS
from schemas.units import DIRECTIONS, UNITS

FORMS = ("pandas", "arrow", "duckdb")


def load_quality(place: str, columns: Sequence[str] | None = None, to: str = "pandas") -> Any:
    """The quality table of a scoring run, all its files in order.

    Args:
        place: output of a scoring run, its `quality` folder, a Parquet file or a glob; on any store.
        columns: which to read; None: all but the embeddings (those come as a matrix: `embedding_matrix`).
        to: `pandas` (a DataFrame; `status` is categorical; `attrs["columns"]` has description, unit and direction
            of each column), `arrow` (a Table; they are in each field's metadata) or `duckdb` (a relation).

    Raises:
        TableError: nothing there, a file that is no Parquet, or a column that it does not have.
        ModuleNotFoundError: duckdb was asked for and is not installed.
    """
    if to not in FORMS:
        raise ValueError(f"to={to!r} is not known; expected one of {', '.join(FORMS)}")
    table = _read(place, columns)
    if to == "arrow":
        return table
    if to == "duckdb":
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to='duckdb' needs duckdb: pip install duckdb") from error
        return duckdb.from_arrow(table)
    frame = table.to_pandas()
    frame.attrs["columns"] = {name: _meaning(name) for name in table.column_names}
    return frame


def embedding_matrix(place: str) -> np.ndarray:
    """The embeddings of a table, floats (rows, D) in the order of its rows; NaN where a row has none.

    Raises:
        TableError: the table has no embeddings.
    """
    return as_matrix(_read(place, ["embedding"])["embedding"], place)


def _read(place: str, columns: Sequence[str] | None) -> pa.Table:
    tables = []
    for url in table_files(place):
        try:
            with open_read(url) as stream:
                file = pq.ParquetFile(stream)
                names = file.schema_arrow.names
                wanted = [name for name in names if name != "embedding"] if columns is None else list(columns)
                missing = [name for name in wanted if name not in names]
                if missing:
                    raise TableError(f"{url}: has no column {missing[0]!r}; it has {', '.join(names)}")
                tables.append(file.read(columns=wanted))
        except pa.ArrowException as error:
            raise TableError(f"{url}: not readable as Parquet ({' '.join(str(error).split())[:200]})") from error
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    described = [field.with_metadata(_meaning(field.name)) for field in table.schema]
    return table.replace_schema_metadata(None).cast(pa.schema(described))


def _meaning(name: str) -> dict[str, str]:
    facts = {"description": COLUMNS.get(name, ""), "unit": UNITS.get(name, ""), "direction": DIRECTIONS.get(name, "")}
    return {fact: text for fact, text in facts.items() if text}
