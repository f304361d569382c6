"""Which pairs remain when the worst are discarded, as passes over sorted arrays; pairs may stand for several copies."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.errors import EvaluationError


@dataclass(frozen=True)
class QualityOrder:
    """Pairs in the order in which a quality measure discards them.

    Attributes:
        quality: float64 (N,), of each pair (minimum of its two images); higher = better.
        order: int32 (N,), pairs by ascending quality, equal ones in the list's order.
        place: int32 (N,), the inverse: each pair's place in `order`.
    """

    quality: np.ndarray
    order: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, quality: np.ndarray) -> "QualityOrder":
        """Sort pair qualities, float (N,).

        Raises:
            EvaluationError: a pair without a quality (NaN).
        """
        quality = np.asarray(quality, np.float64)
        if np.isnan(quality).any():
            raise EvaluationError(f"pair {int(np.flatnonzero(np.isnan(quality))[0]) + 1} of the list has no quality")
        order = np.argsort(quality, kind="stable").astype(np.int32)
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=np.int32)
        return cls(quality, order, place)


class Cut(NamedTuple):
    """Where discarding stops in the order of quality: the first pair that remains, and how many copies of it do."""

    place: int
    copies: int


class Side(NamedTuple):
    """Mated or non-mated pairs by ascending dissimilarity: `values`, places in the order of quality, copies."""

    values: np.ndarray
    place: np.ndarray
    copies: np.ndarray

    def head(self, count: int) -> "Side":
        """The most alike pairs."""
        return Side(self.values[:count], self.place[:count], self.copies[:count])

    def left(self, cut: Cut) -> "Side":
        """The pairs that remain after a cut."""
        kept = np.flatnonzero(self.place >= cut.place)
        place, copies = self.place[kept], self.copies[kept]
        copies[place == cut.place] = cut.copies
        return Side(self.values[kept], place, copies)

    def total(self) -> int:
        """Number of pairs, copies counted."""
        return int(self.copies.sum(dtype=np.int64))


class Discarding:
    """Discards the worst pairs of one comparison set by one quality measure (and one set of copies)."""

    def __init__(self, comparisons: Comparisons, quality: QualityOrder, copies: np.ndarray | None = None) -> None:
        """`copies`: int (N,), of each pair in the list's order; None: one each."""
        if len(quality.order) != len(comparisons.mated):
            raise EvaluationError(f"{len(quality.order)} qualities for {len(comparisons.mated)} pairs")
        number = np.ones(len(comparisons.mated), np.int32) if copies is None else np.asarray(copies)
        self.mated = _side(comparisons.mated_values, comparisons.mated_places, quality, number)
        self.nonmated = _side(comparisons.nonmated_values, comparisons.nonmated_places, quality, number)
        by_quality = number[quality.order]
        self._until = np.cumsum(by_quality, dtype=np.int64)
        by_quality[comparisons.mated[quality.order]] = 0
        self._nonmated_until = np.cumsum(by_quality, dtype=np.int64)

    @property
    def total(self) -> int:
        """Number of pairs, copies counted; a resample may have none, and then there is nothing to cut."""
        return int(self._until[-1]) if len(self._until) else 0

    def cut(self, share: float) -> Cut:
        """Discard `int(share * pairs)` pairs."""
        gone = int(share * self._until[-1])
        place = int(np.searchsorted(self._until, gone, "right"))
        return Cut(place, int(self._until[place]) - gone)

    def nonmated_left(self, cut: Cut) -> int:
        """Number of non-mated pairs after a cut."""
        until = self._nonmated_until
        here = int(until[cut.place] - (until[cut.place - 1] if cut.place else 0))
        return int(until[-1] - until[cut.place]) + min(here, cut.copies)


def _side(values: np.ndarray, places: np.ndarray, quality: QualityOrder, copies: np.ndarray) -> Side:
    own = copies[places]
    there = own > 0
    if there.all():
        return Side(values, quality.place[places], own)
    return Side(values[there], quality.place[places[there]], own[there])
