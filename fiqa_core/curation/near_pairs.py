"""Pairs of nearly equal embeddings inside one set of rows: every pair is looked at, in blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fiqa_core.curation.cells import cell_file
from fiqa_core.curation.findings_settings import NearSettings
from fiqa_core.curation.similarity import BLOCK, as_float, in_threads
from fiqa_core.curation.spill import gathered
from fiqa_core.curation.tasks import Counts, load_array, save_table
from fiqa_core.storage import join
from schemas.findings import PAIRS


class Pairs(NamedTuple):
    """Pairs of rids, a < b; similarity float32; left_out: pairs beyond the most a row may have."""

    a: np.ndarray
    b: np.ndarray
    similarity: np.ndarray
    left_out: int


Keep = Callable[[np.ndarray, np.ndarray], np.ndarray]


def near_pairs(
    vectors: np.ndarray, rid: np.ndarray, own: int, cosine: float, most: int, threads: int = 1, keep: Keep | None = None
) -> Pairs:
    """All pairs from `cosine` on with at least one row of the dataset.

    Args:
        vectors: float16 or float32 (n, d), unit length. rid: int64 (n,), rising. own: rids below are the dataset's.
        most: each row is paired with at most so many earlier ones, the first. keep: which places (i, j) count.
    """
    work = [(rid, vectors, start) for start in range(0, len(rid), BLOCK)]

    def one(item: tuple[np.ndarray, np.ndarray, int]) -> Pairs:
        return _block(item[1], item[0], own, cosine, most, item[2], keep)

    return joined(list(in_threads(one, work, threads)))


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """Several lists as one, sorted."""
    if not pairs:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), 0)
    a, b, similarity = (np.concatenate([some[column] for some in pairs]) for column in range(3))
    order = np.lexsort((b, a))
    return Pairs(a[order], b[order], similarity[order], sum(some.left_out for some in pairs))


def _block(
    vectors: np.ndarray, rid: np.ndarray, own: int, cosine: float, most: int, start: int, keep: Keep | None
) -> Pairs:
    """Rows `start` to `start + BLOCK` with all rows of the dataset before each."""
    stop = min(start + BLOCK, len(rid))
    rows = as_float(vectors[start:stop])
    had = np.zeros(stop - start, np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    left_out = 0
    for begin in range(0, min(stop, int(np.searchsorted(rid, own))), BLOCK):
        products = (rows @ as_float(vectors[begin : begin + BLOCK]).T).numpy()
        hit = np.flatnonzero(products.max(axis=1) >= cosine)
        i, j = np.nonzero(products[hit] >= cosine)
        i = hit[i]
        value = products[i, j]
        good = (begin + j < start + i) & (rid[begin + j] < own)
        if keep is not None:
            good[good] = keep(begin + j[good], start + i[good])
        i, j, value = i[good], j[good], value[good]
        # i is sorted, j within it: the place of each among the pairs of its row.
        place = had[i] + np.arange(len(i)) - np.searchsorted(i, i)
        had += np.bincount(i, minlength=stop - start)
        within = place < most
        left_out += int((~within).sum())
        found.append((rid[begin + j[within]], rid[start + i[within]], value[within]))
    if not found:
        return joined([])
    a, b, value = (np.concatenate(list(column)) for column in zip(*found, strict=True))
    return Pairs(a, b, np.minimum(value, 1.0), left_out)


@dataclass(frozen=True)
class PairTask:
    """The cells of one group -> one file of pairs."""

    output: str
    work: str
    target: str
    group: int
    groups: int
    cells: int
    spills: int
    own: int
    settings: NearSettings
    threads: int

    @property
    def name(self) -> str:
        return f"pairs-{self.group:06d}"

    def run(self) -> Counts:
        """Look at every pair that shares a cell, once, and publish."""
        urls = [cell_file(self.work, number) for number in range(self.spills)]
        rows = gathered(urls, self.group, self.groups)
        found: list[Pairs] = []
        if rows is not None:
            found = [self._in_cell(cell, at, rows.rid, rows.tag, rows.vector) for cell, at in self._cells(rows.tag)]
        pairs = joined(found)
        kind = np.full(len(pairs.a), "cosine", object)
        columns = {"a": pairs.a, "b": pairs.b, "similarity": pairs.similarity, "kind": kind}
        save_table(columns, PAIRS, self.output, self.target)
        return {"pairs_cosine": len(pairs.a), "pairs_left_out": pairs.left_out}

    def _cells(self, tag: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The cells of this group, and the places of their rows."""
        row, column = np.nonzero((tag * self.groups) // self.cells == self.group)
        cell = tag[row, column]
        order = np.argsort(cell, kind="stable")
        cells, starts = np.unique(cell[order], return_index=True)
        yield from zip(cells.tolist(), np.split(row[order], starts[1:]), strict=True)

    def _in_cell(self, cell: int, at: np.ndarray, rid: np.ndarray, tag: np.ndarray, vector: np.ndarray) -> Pairs:
        rid, tag = rid[at], tag[at]

        def keep(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            both = tag[i][:, :, None] == tag[j][:, None, :]
            first = np.where(both.any(axis=2), tag[i], self.cells).min(axis=1)
            return np.asarray((first == cell) & self._counts(rid[i], rid[j]))

        return near_pairs(vector[at], rid, self.own, self.settings.least_cosine, self.settings.most, self.threads, keep)

    def _counts(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Not the same stored bytes on both sides (exact duplicates are found by their digests), hashes alike."""
        high = load_array(join(self.work, "high.npy"))
        good = (high[a] != high[b]) | (high[a] == 0)
        if self.settings.by == "both":
            phash, hashed = load_array(join(self.work, "phash.npy")), load_array(join(self.work, "hashed.npy"))
            alike = np.bitwise_count(phash[a] ^ phash[b]) <= self.settings.most_bits
            good &= alike & hashed[a] & hashed[b]
        return np.asarray(good)
