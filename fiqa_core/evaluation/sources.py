"""Where qualities and embeddings come from: quality tables, score files of the original tools, folders of .npy."""

import io
import logging
import math
import re
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
from fiqa_core.evaluation.text_lines import blocks, check_utf8
from fiqa_core.storage import absolute, has_glob, in_flight, is_folder, join, open_read, read_bytes, stat, walk

_log = logging.getLogger(__name__)
_FILES_AT_ONCE = 16
_ROWS_AT_ONCE = 4096
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan", re.IGNORECASE | re.ASCII)


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
        """Embedding of each name, (N, D). Raises as `rows` does."""
        return np.asarray(self.matrix[self.rows(names, asked_by)])

    def rows(self, names: Sequence[str], asked_by: str) -> np.ndarray:
        """Row of `matrix` of each name, int64 (N,); no embedding is copied.

        Raises:
            EvaluationError: a name that is not there, or has no embedding.
        """
        rows = self.index.require(names, asked_by)
        starts = range(0, len(rows), _ROWS_AT_ONCE)
        finite = [np.isfinite(self.matrix[rows[start : start + _ROWS_AT_ONCE]]).all(axis=1) for start in starts]
        lacking = np.flatnonzero(~np.concatenate(finite))
        if len(lacking):
            raise EvaluationError(
                f"{asked_by}: {len(lacking):,} of its images have no embedding, the first is "
                f"{names[int(lacking[0])]!r} (its row has a reason code for status). Leave its pairs out."
            )
        return rows


def read_qualities(url: str) -> Qualities:
    """Read a quality table (output of a scoring run, folder, Parquet file or glob) or a score file.

    A score file has a line `path score` for each image; the score is what follows the last space. Of a .npy of
    numbers (N,) the keys are the row numbers.

    Raises:
        EvaluationError: a line without a score, or a table without the columns `key` and `quality`.
        TableError: nothing there.
    """
    if has_glob(url) or url.endswith(".parquet") or is_folder(url):
        table = read_columns(url, ["key", "quality"], ["label"])
        kind = table.schema.field("quality").type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            raise EvaluationError(f"{url}: its column 'quality' is of type {kind}, not of numbers")
        values = table["quality"].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Qualities(KeyIndex(table["key"], url), values, _labels(table))
    if url.endswith(".npy"):
        scores_by_row = _array(url, 1)
        return Qualities(_row_numbers(url, scores_by_row), scores_by_row.astype(np.float64), None)
    keys, scores = [], []
    before = 0
    with open_read(url) as stream:
        for block in blocks(url, stream):
            check_utf8(url, block, before)
            for number, line in enumerate(block.decode().split("\n"), before + 1):
                if line.strip():
                    key, score = _score_line(url, number, line)
                    keys.append(key)
                    scores.append(score)
            before += block.count(b"\n")
    if not keys:
        raise EvaluationError(f"{url}: holds no scores. Expected lines `path score`.")
    return Qualities(KeyIndex(keys, url), np.array(scores, np.float64), None)


def read_embeddings(url: str) -> Embeddings:
    """Read embeddings: a Parquet table with columns `key` and `embedding`, a folder of .npy files, or one .npy.

    In a folder each file holds one embedding; its key is its path below the folder without `.npy`. Of one .npy with
    a matrix (N, D) the keys are the row numbers.

    Raises:
        EvaluationError: none found, or they differ in length. TableError: a folder that holds neither.
    """
    if has_glob(url) or url.endswith(".parquet"):
        return _embedding_table(url)
    if url.endswith(".npy"):
        matrix = _array(url, 2)
        return Embeddings(_row_numbers(url, matrix), matrix, None)
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
    fields = line.strip().rsplit(None, 1)
    if not _NUMBER.fullmatch(fields[-1]):
        raise EvaluationError(f"{url}, line {number}: {line.strip()[:100]!r} has no score. Expected `path score`.")
    if len(fields) < 2:
        raise EvaluationError(f"{url}, line {number}: {line.strip()[:100]!r} has no path. Expected `path score`.")
    score = float(fields[1])
    if math.isinf(score):
        raise EvaluationError(f"{url}, line {number}: {fields[1][:50]!r} is too large a score")
    return fields[0], score


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
    return _array(url).reshape(-1)


def _array(url: str, dimensions: int = 0) -> np.ndarray:
    """Floats in a .npy file, float32 or (where stored so) float64; of any number of dimensions if that is 0."""
    try:
        found: Any = np.load(io.BytesIO(read_bytes(url)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise EvaluationError(f"{url}: not readable as .npy ({error}). Expected floats.") from error
    values = np.asarray(found)
    if values.dtype.kind != "f" or not values.size or (dimensions and values.ndim != dimensions):
        expected = {0: "one embedding of floats", 1: "floats (N,)", 2: "floats (N, D)"}[dimensions]
        raise EvaluationError(f"{url}: holds {values.dtype} {values.shape}. Expected {expected}.")
    return values if values.dtype == np.float64 else values.astype(np.float32, copy=False)


def _row_numbers(url: str, values: np.ndarray) -> KeyIndex:
    return KeyIndex([str(row) for row in range(len(values))], url)
