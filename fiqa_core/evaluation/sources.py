"""Where qualities and embeddings come from: quality tables, score files of the original tools, folders of .npy."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.evaluation.text_lines import blocks, check_utf8
from fiqa_core.npy import NpyError, read_npy
from fiqa_core.storage import absolute, has_glob, in_flight, is_folder, join, open_read, stat, walk
from fiqa_core.tables.attached_labels import AttachedLabels, read_label_list
from fiqa_core.tables.columns import read_columns, read_embedded
from fiqa_core.tables.quality_files import TableError

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
        starts = range(0, max(len(rows), 1), _ROWS_AT_ONCE)
        finite = [np.isfinite(self.matrix[rows[start : start + _ROWS_AT_ONCE]]).all(axis=1) for start in starts]
        lacking = np.flatnonzero(~np.concatenate(finite))
        if len(lacking):
            raise EvaluationError(
                f"{asked_by}: {len(lacking):,} of its images have no embedding, the first is "
                f"{names[int(lacking[0])]!r} (its row has a reason code for status). Leave its pairs out."
            )
        return rows


class Labelled(Protocol):
    """Something that may know who images show: of each row its key, and its label (None: it knows none)."""

    @property
    def index(self) -> KeyIndex:
        """The keys."""

    @property
    def labels(self) -> pa.Array | None:
        """The labels, text; null where there is none."""


@dataclass(frozen=True)
class Labels:
    """A file of labels: of each row its key and label."""

    index: KeyIndex
    labels: pa.Array


def read_labels(url: str, key_column: str = "", label_column: str = "") -> Labels:
    """Read a file of labels (`fiqa_core.tables.attached_labels`).

    Raises:
        TableError: not such a file, or a key with two labels.
    """
    listed = read_label_list(url, key_column, label_column)
    AttachedLabels(listed)  # refuses keys with two labels
    first = np.unique(listed.keys.dictionary_encode().indices.to_numpy(), return_index=True)[1]
    rows = pa.array(np.sort(first))
    return Labels(KeyIndex(listed.keys.take(rows), url), listed.labels.take(rows))


def read_qualities(url: str, allow_incomplete: bool = False) -> Qualities:
    """Read a quality table (output of a scoring run, folder, Parquet file or glob) or a score file.

    A score file has a line `path score` for each image; the score is what follows the last space. Of a .npy of
    numbers (N,) the keys are the row numbers.

    Raises:
        EvaluationError: a line without a score. TableError: nothing there, a table without the columns `key` and
            `quality`, or (unless `allow_incomplete`) one that is not whole.
    """
    if has_glob(url) or url.endswith(".parquet") or is_folder(url):
        table = read_columns(url, ["key", "quality"], ["label"], allow_incomplete)
        labels = table["label"].combine_chunks() if "label" in table.column_names else None
        kind = table.schema.field("quality").type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            raise TableError(f"{url}: its column 'quality' is of type {kind}, not of numbers")
        values = table["quality"].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Qualities(KeyIndex(table["key"], url), values, _labels_or_none(labels))
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


def read_embeddings(url: str, allow_incomplete: bool = False) -> Embeddings:
    """Read embeddings: a Parquet table with columns `key` and `embedding`, a folder of .npy files, or one .npy.

    In a folder each file holds one embedding; its key is its path below the folder without `.npy`. Of one .npy with
    a matrix (N, D) the keys are the row numbers.

    Raises:
        EvaluationError: none found, or they differ in length. TableError: a table that cannot be used so, or a folder
            that holds neither.
    """
    if has_glob(url) or url.endswith(".parquet"):
        return _embedding_table(url, allow_incomplete)
    if url.endswith(".npy"):
        matrix = _array(url, 2)
        return Embeddings(_row_numbers(url, matrix), matrix, None)
    if not is_folder(url):
        problem = "is neither a Parquet file nor a folder" if stat(url) is not None else "no such file or folder"
        raise EvaluationError(f"{url}: {problem}. Expected a table with embeddings, or a folder of .npy files.")
    names = [listed.path.decode("utf-8", "surrogateescape") for listed in walk(url)]
    files = [name for name in names if name.endswith(".npy")]
    return _embedding_files(url, files) if files else _embedding_table(url, allow_incomplete)


def _labels_or_none(labels: pa.Array | None) -> pa.Array | None:
    return None if labels is None or labels.null_count == len(labels) else labels


def _score_line(url: str, number: int, line: str) -> tuple[str, float]:
    fields = line.strip().rsplit(None, 1)
    if not _NUMBER.fullmatch(fields[-1]):
        raise EvaluationError(f"{url}, line {number}: has no score as its last word. Expected `path score`.")
    if len(fields) < 2:
        raise EvaluationError(f"{url}, line {number}: has a score and no path. Expected `path score`.")
    score = float(fields[1])
    if math.isinf(score):
        raise EvaluationError(f"{url}, line {number}: its score is too large a number")
    return fields[0], score


def _embedding_table(url: str, allow_incomplete: bool) -> Embeddings:
    keys, matrix, labels = read_embedded(url, allow_incomplete)
    return Embeddings(KeyIndex(keys, url), matrix, _labels_or_none(labels))


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
        values = read_npy(url)
    except NpyError as error:
        raise EvaluationError(f"{error} Expected floats.") from error
    if values.dtype.kind != "f" or not values.size or (dimensions and values.ndim != dimensions):
        expected = {0: "one embedding of floats", 1: "floats (N,)", 2: "floats (N, D)"}[dimensions]
        raise EvaluationError(f"{url}: holds {values.dtype} {values.shape}. Expected {expected}.")
    return values if values.dtype == np.float64 else values.astype(np.float32, copy=False)


def _row_numbers(url: str, values: np.ndarray) -> KeyIndex:
    return KeyIndex([str(row) for row in range(len(values))], url)
