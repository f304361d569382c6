"""Where qualities and embeddings come from: quality tables, score files of the original tools, folders of .npy."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.curation.parts import table_files
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.storage import absolute, has_glob, in_flight, is_folder, join, open_read, read_bytes, stat, walk

_FILES_AT_ONCE = 16


@dataclass(frozen=True)
class Qualities:
    """One quality measure: of each row its key, quality (float64, NaN = none; higher = better), label (or None)."""

    index: KeyIndex
    values: np.ndarray
    labels: pa.Array | None

    def of(self, names: Sequence[str], asked_by: str) -> np.ndarray:
        """Quality of each name, float64.

        Raises:
            EvaluationError: a name that is not there.
        """
        return np.asarray(self.values[self.index.require(names, asked_by)])


@dataclass(frozen=True)
class Embeddings:
    """One face recognition model: of each row its key, embedding (floats (I, D), NaN = none), label (or None)."""

    index: KeyIndex
    matrix: np.ndarray
    labels: pa.Array | None

    def of(self, names: Sequence[str], asked_by: str) -> np.ndarray:
        """Embedding of each name, (N, D).

        Raises:
            EvaluationError: a name that is not there, or has no embedding.
        """
        rows = self.index.require(names, asked_by)
        found = self.matrix[rows]
        lacking = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(lacking):
            raise EvaluationError(
                f"{asked_by}: {len(lacking):,} of its images have no embedding, the first is "
                f"{names[int(lacking[0])]!r} (its row has a reason code for status). Leave its pairs out."
            )
        return np.asarray(found)


def read_qualities(url: str) -> Qualities:
    """Read a quality table (output of a scoring run, folder, Parquet file or glob) or a score file.

    A score file has a line `path score` for each image; the score is what follows the last space.

    Raises:
        EvaluationError: a line without a score, or a table without the columns `key` and `quality`.
        TableError: nothing there.
    """
    if has_glob(url) or url.endswith(".parquet") or is_folder(url):
        table = read_columns(url, ["key", "quality"], ["label"])
        values = table["quality"].to_numpy(zero_copy_only=False).astype(np.float64)
        return Qualities(KeyIndex(table["key"], url), values, _labels(table))
    keys, scores = [], []
    with open_read(url) as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, "utf-8", errors="surrogateescape"), 1):
            if line.strip():
                key, score = _score_line(url, number, line)
                keys.append(key)
                scores.append(score)
    return Qualities(KeyIndex(keys, url), np.array(scores, np.float64), None)


def read_embeddings(url: str) -> Embeddings:
    """Read embeddings: a Parquet table with columns `key` and `embedding`, or a folder of .npy files.

    In a folder each file holds one embedding; its key is its path below the folder without `.npy`.

    Raises:
        EvaluationError: none found, or they differ in length. TableError: a folder that holds neither.
    """
    if has_glob(url) or url.endswith(".parquet"):
        return _embedding_table(url)
    if not is_folder(url):
        problem = "is no Parquet file and no folder" if stat(url) is not None else "no such file or folder"
        raise EvaluationError(f"{url}: {problem}. Expected a table with embeddings, or a folder of .npy files.")
    names = [listed.path.decode("utf-8", "surrogateescape") for listed in walk(url)]
    files = [name for name in names if name.endswith(".npy")]
    return _embedding_files(url, files) if files else _embedding_table(url)


def read_columns(url: str, needed: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Columns of a table in one piece; optional ones only where all its files have them.

    Raises:
        EvaluationError: a needed column is missing, or a file that is no Parquet. TableError: nothing there.
    """
    tables = []
    for file in table_files(url):
        try:
            with open_read(file) as stream:
                parquet = pq.ParquetFile(stream)
                names = parquet.schema_arrow.names
                missing = [name for name in needed if name not in names]
                if missing:
                    raise EvaluationError(
                        f"{file}: has no column {missing[0]!r}, which is needed here; it has {', '.join(names[:12])}"
                    )
                tables.append(parquet.read(columns=[*needed, *(name for name in optional if name in names)]))
        except pa.ArrowException as error:
            raise EvaluationError(f"{file}: not readable as Parquet ({' '.join(str(error).split())[:200]})") from error
    shared = set(tables[0].column_names).intersection(*(table.column_names for table in tables))
    kept = [name for name in (*needed, *optional) if name in shared]
    return pa.concat_tables([table.select(kept) for table in tables], promote_options="permissive").combine_chunks()


def _labels(table: pa.Table) -> pa.Array | None:
    if "label" not in table.column_names or not pa.types.is_string(table.schema.field("label").type):
        return None
    labels = table["label"].combine_chunks()
    return labels if labels.null_count < len(labels) else None


def _score_line(url: str, number: int, line: str) -> tuple[str, float]:
    key, _, score = line.strip().rpartition(" ")
    try:
        return key.strip(), float(score)
    except ValueError:
        raise EvaluationError(
            f"{url}, line {number}: {line.strip()[:100]!r} has no score. Expected `path score`."
        ) from None


def _embedding_table(url: str) -> Embeddings:
    table = read_columns(url, ["key", "embedding"], ["label"])
    return Embeddings(KeyIndex(table["key"], url), as_matrix(table["embedding"], url), _labels(table))


def as_matrix(column: pa.ChunkedArray, where: str = "embedding") -> np.ndarray:
    """A column of lists as one matrix, floats (N, D); a null list is a row of NaN.

    Raises:
        EvaluationError: lists of different lengths, or of no numbers.
    """
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise EvaluationError(f"{where}: an embedding is a list of numbers, not {kind}")
    lengths = pc.unique(pc.list_value_length(column).drop_null()).to_pylist()
    if len(lengths) != 1:
        raise EvaluationError(f"{where}: embeddings of different lengths ({sorted(lengths)[:5]}); give one model's")
    flat = pc.list_flatten(column).to_numpy()
    matrix = flat.reshape(-1, lengths[0])
    if len(matrix) == len(column):
        return np.asarray(matrix if matrix.dtype == np.float64 else matrix.astype(np.float32, copy=False))
    whole = np.full((len(column), lengths[0]), np.nan, np.float32)
    whole[column.is_valid().to_numpy()] = matrix
    return whole


def _embedding_files(folder: str, files: list[str]) -> Embeddings:
    urls = [join(absolute(folder), name) for name in files]
    vectors: list[np.ndarray] = []
    for url, vector in zip(urls, in_flight(urls, _vector, _FILES_AT_ONCE), strict=True):
        if vectors and vector.shape != vectors[0].shape:
            raise EvaluationError(
                f"{url}: holds {vector.shape[0]} numbers, {urls[0]} holds {vectors[0].shape[0]}. Give one model's."
            )
        vectors.append(vector)
    return Embeddings(KeyIndex([name.removesuffix(".npy") for name in files], folder), np.stack(vectors), None)


def _vector(url: str) -> np.ndarray:
    try:
        found: Any = np.load(io.BytesIO(read_bytes(url)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise EvaluationError(f"{url}: not readable as .npy ({error}). Expected one embedding.") from error
    vector = np.asarray(found).reshape(-1)
    if vector.dtype.kind != "f" or not vector.size:
        raise EvaluationError(f"{url}: holds {found.dtype} {np.shape(found)}. Expected one embedding of floats.")
    return vector if vector.dtype == np.float64 else vector.astype(np.float32)
