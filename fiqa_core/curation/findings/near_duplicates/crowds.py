"""Crowds: rows that are near so many others that not every pair is listed. Each is compared with crowd middles only.

From the best row down, a row that is near a middle joins its crowd, and any other row becomes the middle of a new
crowd. So a photograph that occurs n times costs n comparisons, and of two rows near each other one is dropped.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fiqa_core.curation.findings.similarity import BLOCK, as_float, blocks

# Places (i, j) of pairs -> similarity of the pictures of each pair.
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]
_SMALLEST = 64


class Crowds(NamedTuple):
    """Places of members and of middles, their similarity, whether the member belongs to that middle (false for further
    middles that it is near), and the number of candidates that were not compared."""

    member: np.ndarray
    middle: np.ndarray
    similarity: np.ndarray
    belongs: np.ndarray
    left_out: int


def find_crowds(
    vectors: np.ndarray, order: np.ndarray, cosine: float, most: int, compare: Compare | None, least: float
) -> Crowds:
    """The crowds of some rows.

    Args:
        vectors: float16 or float32 (n, d), unit length. order: int64 (m,), places of the rows, best first.
        most: number of middles, the nearest, that a row is compared with (by `compare`) or paired with.
        compare, least: a second comparison of rows that are near by cosine; None: the cosine alone counts.
    """
    middles: list[int] = []
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    left_out = 0
    start, size = 0, _SMALLEST
    while start < len(order):
        rows = order[start : start + size]
        start, size = start + size, min(2 * size, BLOCK if compare is None else BLOCK // 4)
        one = _Block(vectors, rows, cosine, most, compare, least)
        for part in blocks(len(middles)):
            one.offer(np.array(middles[part]))
        one.match()
        middles += one.settle()
        left_out += one.left_out
        found.append(one.pairs())
    if not found:
        nothing = np.empty(0, np.int64)
        return Crowds(nothing, nothing, np.empty(0, np.float32), np.empty(0, bool), left_out)
    member, middle, similarity = (np.concatenate([some[column] for some in found]) for column in range(3))
    rank = np.empty(len(vectors), np.int64)
    rank[order] = np.arange(len(order))
    by_member = np.lexsort((rank[middle], member))
    member, middle, similarity = member[by_member], middle[by_member], similarity[by_member]
    belongs = np.ones(len(member), bool)
    belongs[1:] = member[1:] != member[:-1]
    return Crowds(member, middle, similarity, belongs, left_out)


class _Block:
    """Some rows, best first, and the middles that they are near."""

    def __init__(
        self,
        vectors: np.ndarray,
        rows: np.ndarray,
        cosine: float,
        most: int,
        compare: Compare | None,
        least: float,
    ) -> None:
        self._vectors, self._rows, self._compare = vectors, rows, compare
        self._cosine, self._most, self._least = cosine, most, least
        self._x = as_float(vectors[rows])
        # Candidates by row: (place in the block, middle, cosine).
        self._near = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        self._seen = np.zeros(len(rows), np.int64)
        self._pairs: list[tuple[np.ndarray, ...]] = [self._near]
        self.left_out = 0

    def offer(self, middles: np.ndarray) -> None:
        """Compare with middles by cosine; the nearest `most` of each row are remembered."""
        products = (self._x @ as_float(self._vectors[middles]).T).numpy()
        i, j = np.nonzero(products >= self._cosine)
        self._seen += np.bincount(i, minlength=len(self._rows))
        fresh: tuple[np.ndarray, ...] = (i, middles[j], products[i, j])
        near = [np.concatenate([held, new]) for held, new in zip(self._near, fresh, strict=True)]
        order = np.lexsort((near[1], -near[2], near[0]))
        row = near[0][order]
        within = order[np.arange(len(row)) - np.searchsorted(row, row) < self._most]
        self._near = near[0][within], near[1][within], near[2][within]

    def match(self) -> None:
        """Compare the pictures of the candidates: first each row's nearest, then the others of rows without a match."""
        row, middle, cosine = self._near
        if self._compare is None:
            self._pairs.append((self._rows[row], middle, cosine))
            self._open = np.ones(len(self._rows), bool)
            self._open[row] = False
            return
        self._open = np.ones(len(self._rows), bool)
        first = np.arange(len(row)) == np.searchsorted(row, row)
        self._look(row[first], middle[first])
        rest = ~first & self._open[row]
        self._look(row[rest], middle[rest])
        self.left_out += int(np.maximum(self._seen - self._most, 0)[self._open].sum())

    def settle(self) -> list[int]:
        """Compare the rows near no middle with each other, best first; returns those that become middles."""
        places = np.flatnonzero(self._open)
        cosines = (self._x[places] @ self._x[places].T).numpy()
        near = cosines >= self._cosine
        is_open = np.ones(len(places), bool)
        looks = np.zeros(len(places), np.int64)
        missed = np.zeros(len(places), np.int64)
        new = []
        for place in range(len(places)):
            if not is_open[place]:
                continue
            is_open[place] = False
            new.append(place)
            self.left_out += int(missed[place])
            some = np.flatnonzero(is_open & near[place])
            if self._compare is None:
                is_open[some] = False
                continue
            # A row has a limited number of comparisons; if none finds a middle, the rest is counted as left out.
            missed[some[looks[some] >= self._most]] += 1
            some = some[looks[some] < self._most]
            looks[some] += 1
            is_open[some[self._look(places[some], np.repeat(self._rows[places[place]], len(some)))]] = False
        if self._compare is None:
            is_middle = np.zeros(len(places), bool)
            is_middle[new] = True
            i, j = np.nonzero(near & is_middle[None, :] & ~is_middle[:, None])
            self._pairs.append((self._rows[places[i]], self._rows[places[j]], cosines[i, j]))
        return [int(self._rows[places[place]]) for place in new]

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Member, middle and similarity of everything found."""
        member, middle, similarity = (np.concatenate([some[column] for some in self._pairs]) for column in range(3))
        return member, middle, similarity.astype(np.float32)

    def _look(self, row: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Whether pictures of rows (places in the block) are the same as those of middles; bool."""
        if self._compare is None or not len(row):
            return np.zeros(len(row), bool)
        similarity = self._compare(middle, self._rows[row])
        good = similarity >= np.float32(self._least)
        self._pairs.append((self._rows[row[good]], middle[good], similarity[good]))
        self._open[row[good]] = False
        return good
