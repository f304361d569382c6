"""Which rows become points of the map, and their embeddings: read once, held only for the sample."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.curation.findings.embedding_join import match_embeddings
from fiqa_core.curation.findings.rows import read_rows
from fiqa_core.curation.findings.similarity import unit_rows
from fiqa_core.tables.embedding_files import EmbeddingFile, EmbeddingSource, embedding_files, read_embedding_rows
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_part
from schemas.reasons import Status

# Why a scored row is not placed. A row that was not scored is counted by its status.
NO_EMBEDDING = "no_embedding"
NOT_FINITE = "embedding_not_finite"
ZERO = "embedding_zero"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Points:
    """Rows to place.

    Attributes:
        rids: int64 (n,), ascending. vectors: float32 (n, dim), of unit length.
        rows: of the tables. usable: rows with an embedding that can be placed; more than n where these are a sample.
        left_out: the other rows, by reason.
    """

    rids: np.ndarray
    vectors: np.ndarray
    rows: int
    usable: int
    left_out: Mapping[str, int]


def read_points(parts: Sequence[TableFile], source: EmbeddingSource, most: int, seed: int) -> Points:
    """Stream the embeddings of the scored rows, and hold those of at most `most` rows.

    Of more rows those with the smallest number are taken that a hash makes of seed and row: the same rows for the same
    tables in the same order, on any machine.

    Raises:
        TableError: no embeddings, embeddings that belong to no row, or a damaged file.
    """
    files = embedding_files(source, parts)
    total = sum(part.rows for part in parts)
    left_out = _not_scored(parts)
    held = _Held(most, seed, max(file.dim for file in files))
    if left_out.total() < total:
        rows = read_rows(parts, total)
        number, rid, counts = match_embeddings(source, files, parts, rows)
        left_out[NO_EMBEDDING] = counts["without_embedding"]
        for file in files:
            left_out.update(_read(file, number, rid, held))
    rids, vectors = held.all()
    return Points(rids, vectors, total, held.seen, {reason: count for reason, count in left_out.items() if count})


def _not_scored(parts: Sequence[TableFile]) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in parts:
        for batch in read_part(part, ["status"]):
            counts = batch.column("status").cast(pa.string()).value_counts()
            found.update({str(each["values"]): each["counts"] for each in counts.to_pylist()})
    del found[Status.SCORED.value]
    return found


def _read(file: EmbeddingFile, number: np.ndarray, rid: np.ndarray, held: "_Held") -> Counter[str]:
    left_out: Counter[str] = Counter()
    for start, values in read_embedding_rows(file, 0, file.rows):
        begin, end = np.searchsorted(number, [start, start + len(values)])
        at, here = number[begin:end] - start, rid[begin:end]
        unit, length = unit_rows(values)
        length = length[at]
        finite, zero = np.isfinite(length), length == 0
        left_out[NOT_FINITE] += int((~finite).sum())
        left_out[ZERO] += int(zero.sum())
        usable = finite & ~zero
        held.add(here[usable], unit, at[usable])
    return left_out


def order_of(rids: np.ndarray, seed: int) -> np.ndarray:
    """uint64: the order in which rows are taken for a sample (splitmix64 of row and seed)."""
    mixed = rids.astype(np.uint64) + np.uint64(seed % (1 << 32)) * np.uint64(1 << 32)
    mixed = mixed * _GOLDEN + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


class _Held:
    """The rows of the sample so far; at most a quarter more than it has in the end, and one block."""

    def __init__(self, most: int, seed: int, dim: int) -> None:
        self.seen = 0
        self._most, self._seed, self._dim = most, seed, dim
        self._rids: list[np.ndarray] = []
        self._vectors: list[np.ndarray] = []
        self._count = 0
        self._below = np.uint64(np.iinfo(np.uint64).max)

    def add(self, rids: np.ndarray, vectors: np.ndarray, at: np.ndarray) -> None:
        """Rows and the places of their vectors in a block."""
        self.seen += len(rids)
        taken = order_of(rids, self._seed) <= self._below
        self._rids.append(rids[taken])
        self._vectors.append(vectors[at[taken]])
        self._count += len(self._rids[-1])
        if self._count > self._most * 5 // 4:
            self._prune()

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """rids int64 (n,), ascending, and vectors float32 (n, dim)."""
        self._prune()
        rids, vectors = self._rids[0], self._vectors[0]
        order = np.argsort(rids)
        return rids[order], vectors[order]

    def _prune(self) -> None:
        rids = np.concatenate([np.zeros(0, np.int64), *self._rids])
        vectors = np.concatenate([np.zeros((0, self._dim), np.float32), *self._vectors])
        if len(rids) > self._most:
            order = order_of(rids, self._seed)
            chosen = np.lexsort((rids, order))[: self._most]
            self._below = order[chosen[-1]]
            rids, vectors = rids[chosen], vectors[chosen]
        self._rids, self._vectors, self._count = [rids], [vectors], len(rids)
