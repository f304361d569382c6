"""Columns of tables that other tools may have written: keys and labels as text, embeddings as one matrix."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.storage import open_read
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.whole_tables import whole_tables
from fiqa_core.wording import one_line

TEXTS = ("key", "label")
_ROWS_AT_ONCE = 8192


def read_columns(
    url: str, needed: Sequence[str], optional: Sequence[str] = (), allow_incomplete: bool = False
) -> pa.Table:
    """Columns of a table in one piece, keys and labels as strings; optional columns only if all its files have them.

    Raises:
        TableError: a needed column is missing, keys or labels of a type that is not text, a file that is not Parquet,
            nothing there, or (unless `allow_incomplete`) a table that is not whole.
    """
    tables = []
    for file in whole_tables([url], allow_incomplete).urls:
        with _opened(file, needed) as parquet:
            present = set(parquet.schema_arrow.names)
            table = parquet.read(columns=[*needed, *(name for name in optional if name in present)])
        for place, name in enumerate(table.column_names):
            if name in TEXTS:
                table = table.set_column(place, name, _text(table[name], f"{file}: its column {name!r}"))
        tables.append(table)
    shared = set(tables[0].column_names).intersection(*(table.column_names for table in tables))
    kept = [name for name in (*needed, *optional) if name in shared]
    return pa.concat_tables([table.select(kept) for table in tables], promote_options="permissive").combine_chunks()


def read_embedded(url: str, allow_incomplete: bool = False) -> tuple[pa.Array, np.ndarray, pa.Array | None]:
    """Keys, embeddings (floats (N, D), NaN where there is none) and labels (if all its files have them) of a table.

    The matrix grows in place, a few thousand rows at a time, so there is never a second one of its size in memory.

    Raises:
        TableError: as `read_columns`; or there is no embedding, or their lengths differ.
    """
    matrix: np.ndarray | None = None
    texts: dict[str, list[pa.Array]] = {name: [] for name in TEXTS}
    labelled, filled = True, 0
    for file in whole_tables([url], allow_incomplete).urls:
        with _opened(file, ["key", "embedding"]) as parquet:
            labelled = labelled and "label" in parquet.schema_arrow.names
            own = TEXTS if labelled else TEXTS[:1]
            total = filled + parquet.metadata.num_rows
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=[*own, "embedding"]):
                for name in own:
                    texts[name].append(_text(batch.column(name), f"{file}: its column {name!r}"))
                column = batch.column("embedding")
                matrix = _copy_rows(matrix, column, filled, total, url)
                filled += len(column)
    if matrix is None:
        raise TableError(f"{url}: its column 'embedding' holds no embedding")
    keys = pa.chunked_array(texts["key"], pa.string()).combine_chunks()
    return keys, matrix, pa.chunked_array(texts["label"], pa.string()).combine_chunks() if labelled else None


def _copy_rows(matrix: np.ndarray | None, column: pa.Array, filled: int, total: int, url: str) -> np.ndarray | None:
    """Copy rows into the matrix, which is allocated at the first row that is not null: only then is its width known."""
    if column.null_count == len(column):
        block = None
    else:
        block = as_matrix(pa.chunked_array([column]), url)
        if matrix is None:
            matrix = np.full((total, block.shape[1]), np.nan, block.dtype)
        elif matrix.shape[1] != block.shape[1]:
            raise TableError(_different(url, [matrix.shape[1], block.shape[1]]))
    if matrix is None:
        return None
    if len(matrix) < total:
        matrix.resize((total, matrix.shape[1]), refcheck=False)
    matrix[filled : filled + len(column)] = np.nan if block is None else block
    return matrix


@contextmanager
def _opened(file: str, needed: Sequence[str]) -> Iterator[pq.ParquetFile]:
    try:
        with open_read(file) as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)
            names = parquet.schema_arrow.names
            missing = [name for name in needed if name not in names]
            if missing:
                raise TableError(
                    f"{file}: has no column {missing[0]!r}, which is needed here; it has {', '.join(names[:12])}"
                )
            yield parquet
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # the store failed; for a damaged file Arrow raises a bare OSError
        raise TableError(f"{file}: not readable as Parquet ({one_line(error, 200)})") from error


def _text(column: pa.Array | pa.ChunkedArray, where: str) -> pa.Array | pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.cast(kind.value_type), where)
    types = pa.types
    if not (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_integer(kind)
        or types.is_null(kind)
    ):
        raise TableError(f"{where} is of type {kind}; expected text or whole numbers")
    return column.cast(pa.string())


def as_matrix(column: pa.ChunkedArray, where: str = "embedding") -> np.ndarray:
    """A column of lists as one matrix, floats (N, D); a null list is a row of NaN.

    Raises:
        TableError: the lists differ in length, or do not hold numbers.
    """
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise TableError(f"{where}: an embedding is a list of numbers, not {kind}")
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise TableError(f"{where}: an embedding is a list of numbers, not of {kind.value_type}")
    lengths = pc.unique(pc.list_value_length(column).drop_null()).to_pylist()
    if len(lengths) != 1:
        raise TableError(_different(where, lengths))
    flat = pc.list_flatten(column).to_numpy()
    matrix = flat.reshape(-1, lengths[0])
    if len(matrix) == len(column):
        return np.asarray(matrix if matrix.dtype == np.float64 else matrix.astype(np.float32, copy=False))
    whole = np.full((len(column), lengths[0]), np.nan, np.float32)
    whole[column.is_valid().to_numpy()] = matrix
    return whole


def _different(where: str, lengths: Sequence[int]) -> str:
    return f"{where}: embeddings of different lengths ({sorted(lengths)[:5]}); give one model's"
