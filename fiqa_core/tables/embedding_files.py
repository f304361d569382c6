"""Where embeddings come from, and which embedding belongs to which row."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.npy import NpyError, map_npy
from fiqa_core.shards.label_text import sidecar_text
from fiqa_core.storage import is_local, open_read
from fiqa_core.tables.quality_files import TableError, TableFile, find_parts, table_files
from fiqa_core.tables.row_batches import checked, damage_named
from fiqa_core.wording import counted, one_line

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class EmbeddingSource:
    """The files with the embeddings.

    Attributes:
        kind: `column` (the quality tables' own column), `run` (tables of an embedding run), `parquet` (another
            tool's), `npy` (an (N, D) array beside a text file with one key a line).
        places: files, folders or globs; none for `column`.
        column: name of the embedding column. join: `sha256` or `key`, the value that both tables share.
        join_column: its column in the other table ("" = named as `join`). keys: the text file of a `npy`.
    """

    kind: str = "column"
    places: tuple[str, ...] = ()
    column: str = "embedding"
    join: str = "sha256"
    join_column: str = ""
    keys: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("column", "run", "parquet", "npy"):
            raise ValueError(f"embeddings: expected column, run, parquet or npy, found {self.kind!r}")
        if self.join not in ("sha256", "key"):
            raise ValueError(f"embeddings: rows are joined by sha256 or key, found {self.join!r}")
        if self.kind == "npy" and (len(self.places) != 1 or not self.keys):
            raise ValueError("embeddings: a .npy file needs a text file with the key of each of its rows, one a line")


@dataclass(frozen=True)
class EmbeddingFile:
    """One file of embeddings: rows `first` to `first + rows` of all embeddings. `column` is "" for a `.npy`."""

    url: str
    column: str
    first: int
    rows: int
    dim: int


def embedding_files(source: EmbeddingSource, parts: Sequence[TableFile]) -> tuple[EmbeddingFile, ...]:
    """The files of a source in a fixed order, all of one dimension.

    Raises:
        TableError: a file without such a column, of another dimension, or that cannot be read.
    """
    if source.kind == "npy":
        shape = _npy(source.places[0]).shape
        return (EmbeddingFile(source.places[0], "", 0, shape[0], shape[1]),)
    if source.kind == "column":
        urls = [part.url for part in parts]
    elif source.kind == "run":
        urls = [part.url for part in find_parts(source.places)]
    else:
        urls = list(source_files(source))
    files: list[EmbeddingFile] = []
    first = 0
    for url in urls:
        rows, dim = _look_at(url, source.column, required=source.kind != "column")
        known = next((file for file in files if file.dim), None)
        if dim and known is not None and known.dim != dim:
            raise TableError(
                f"{url}: embeddings of {dim} numbers, those of {known.url} have {known.dim}. "
                "All must come from one network."
            )
        files.append(EmbeddingFile(url, source.column, first, rows, dim))
        first += rows
    if not any(file.dim for file in files):
        raise TableError(
            f"{urls[0] if urls else source.places}: no embeddings: no column {source.column!r}. Score with "
            "--embedding-type float16, or name the tables of an embedding run."
        )
    return tuple(files)


def source_files(source: EmbeddingSource) -> dict[str, str]:
    """The Parquet files of a source of kind `run` or `parquet` in order, each with the place it was found through.

    Raises:
        TableError: nothing there.
    """
    found: dict[str, str] = {}
    for place in source.places:
        for url in table_files(place) if source.kind == "run" else _parquet_files([place]):
            found.setdefault(url, place)
    return found


def read_embedding_rows(file: EmbeddingFile, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Embeddings of rows `start` to `stop` of one file, in order, a bounded number at a time.

    Yields:
        number of the first of them among all embeddings, float32 (n, dim); NaN where the column is null.
    """
    if not file.dim:
        return
    if not file.column:
        values = _npy(file.url)
        for begin in range(start, stop, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, stop)
            yield file.first + begin, np.array(values[begin:end], np.float32)
        return
    with damage_named(file.url), open_read(file.url) as stream:
        footer = checked(stream)
        begin = 0
        for group in range(footer.num_row_groups):
            rows = footer.metadata.row_group(group).num_rows
            if begin + rows > start and begin < stop:
                yield from _rows_of_group(footer, file, group, begin, start, stop)
            begin += rows


def _rows_of_group(
    footer: Any, file: EmbeddingFile, group: int, begin: int, start: int, stop: int
) -> Iterator[tuple[int, np.ndarray]]:
    for batch in footer.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[file.column]):
        low, high = max(start, begin), min(stop, begin + batch.num_rows)
        if low < high:
            yield file.first + low, _to_numpy(batch.column(0).slice(low - begin, high - low), file)
        begin += batch.num_rows


def _to_numpy(column: pa.Array, file: EmbeddingFile) -> np.ndarray:
    values = np.full((len(column), file.dim), np.nan, np.float32)
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    some = column.filter(pa.array(valid)) if not valid.all() else column
    if not pa.types.is_fixed_size_list(column.type):
        lengths = pc.list_value_length(some).to_numpy(zero_copy_only=False)
        if len(lengths) and (lengths != file.dim).any():
            wrong = int(lengths[lengths != file.dim][0])
            raise TableError(
                f"{file.url}: column {file.column!r} holds lists of {file.dim} and of {wrong} numbers. "
                "Every embedding must have the same length."
            )
    flat = some.flatten()
    numbers = pc.fill_null(flat, float("nan")) if flat.null_count else flat
    values[valid] = numbers.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, file.dim)
    return values


def _look_at(url: str, column: str, required: bool) -> tuple[int, int]:
    """Rows and dimension (0: no such column) of a Parquet file."""
    try:
        with open_read(url) as stream:
            footer = pq.ParquetFile(stream)
            rows: int = footer.metadata.num_rows
            if column not in footer.schema_arrow.names:
                if required:
                    raise TableError(
                        f"{url}: no column {column!r}. It has {', '.join(footer.schema_arrow.names[:20])}; "
                        "name the one with the embeddings."
                    )
                return rows, 0
            kind = footer.schema_arrow.field(column).type
            if pa.types.is_fixed_size_list(kind):
                dim = int(kind.list_size)
            elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
                dim = _first_length(footer, column)
            else:
                dim = -1
            if dim < 0 or not pa.types.is_floating(kind.value_type):
                raise TableError(f"{url}: column {column!r} is {kind}, expected a list of floating point numbers.")
            return rows, dim
    except pa.ArrowException as error:
        raise TableError(f"{url}: not readable as Parquet ({one_line(error)}).") from error


def _first_length(footer: Any, column: str) -> int:
    for batch in footer.iter_batches(_ROWS_AT_ONCE, columns=[column]):
        lengths = pc.list_value_length(batch.column(0)).drop_null()
        if len(lengths):
            return int(lengths[0].as_py())
    return 0


def _parquet_files(places: Sequence[str]) -> Iterator[str]:
    from fiqa_core.storage import absolute, expand_glob, has_glob, is_folder, join, list_names, stat

    for place in places:
        if has_glob(place):
            urls = [absolute(file.url) for file in expand_glob(place)]
        elif is_folder(place):
            urls = [join(absolute(place), name) for name in sorted(list_names(place)) if name.endswith(".parquet")]
        else:
            urls = [absolute(place)] if stat(place) is not None else []
        if not urls:
            raise TableError(f"{place}: no such Parquet file, or a folder without any.")
        yield from urls


def _npy(url: str) -> np.ndarray:
    if not is_local(url):
        raise TableError(f"{url}: a .npy file is mapped into memory, so it must lie on a local disk. Copy it there.")
    try:
        values = map_npy(url)
    except NpyError as error:
        raise TableError(str(error)) from error
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise TableError(f"{url}: {values.dtype} {values.shape}, expected floating point numbers of shape (N, D).")
    return values


def join_digests(source: EmbeddingSource, files: Sequence[EmbeddingFile]) -> tuple[np.ndarray, np.ndarray]:
    """The first 16 bytes of each embedding's join value (uint64 high, low; 0, 0: null).

    Raises:
        TableError: the column is missing, or the numbers of keys and embeddings differ.
    """
    if source.kind == "npy":
        lines = _key_lines(source.keys)
        if len(lines) != files[0].rows:
            raise TableError(
                f"{source.keys}: {counted(len(lines), 'line')}, {files[0].url} has {counted(files[0].rows, 'row')}. "
                "Expected one key a line, in the order of the rows."
            )
        return _digests_of([*lines], source.join)
    name = source.join_column or source.join
    halves = [_join_column(file.url, name, source.join) for file in files]
    return np.concatenate([half[0] for half in halves]), np.concatenate([half[1] for half in halves])


def _key_lines(url: str) -> list[str]:
    """The lines of a text file. Only line feeds (and a carriage return before one) end a line: keys may
    contain other characters that Python treats as line breaks."""
    with open_read(url) as stream:
        data = stream.read()
    try:
        text = sidecar_text(data)
    except ValueError as error:
        raise TableError(f"{url}: not readable as text: {error}. Save it as UTF-8, with one key a line.") from error
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def key_digests(parts: Sequence[TableFile]) -> tuple[np.ndarray, np.ndarray]:
    """The same digests (`join_digests`) for the rows of the quality tables, by their key."""
    halves = [_join_column(part.url, "key", "key") for part in parts]
    return np.concatenate([half[0] for half in halves]), np.concatenate([half[1] for half in halves])


def _join_column(url: str, name: str, join: str) -> tuple[np.ndarray, np.ndarray]:
    with damage_named(url), open_read(url) as stream:
        footer = checked(stream)
        if name not in footer.schema_arrow.names:
            raise TableError(
                f"{url}: no column {name!r} to join the embeddings by. It has "
                f"{', '.join(footer.schema_arrow.names[:20])}."
            )
        return _digests_of(footer.read(columns=[name]).column(0).to_pylist(), join, url)


def _digests_of(values: list[Any], join: str, url: str = "") -> tuple[np.ndarray, np.ndarray]:
    null = b"\0" * 16
    if join == "key":
        digests = [null if v is None else hashlib.blake2b(str(v).encode(), digest_size=16).digest() for v in values]
    else:
        digests = [null if v is None else _sha256(v, url) for v in values]
    halves = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)
    return halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)


def _sha256(value: Any, url: str) -> bytes:
    try:
        digest = bytes.fromhex(value) if isinstance(value, str) else bytes(value)
    except (ValueError, TypeError):
        digest = b""
    if len(digest) != 32:
        kind = type(value).__name__
        raise TableError(f"{url}: a {kind} in it is not a SHA-256: expected 32 bytes, or 64 hexadecimal digits.")
    return digest[:16]
