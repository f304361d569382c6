"""Error-versus-discard characteristic (EDC): FNMR at a fixed FMR as the worst-quality comparisons are discarded.

A comparison's quality is the minimum of its two images' qualities. Two protocols give different numbers:

`crfiqa` (the code of the CR-FIQA paper, arXiv 2112.06592, which ViT-FIQA's figures follow): all pairs together are
discarded in the order of quality, at 0, 5 .. 95 %; at each step the threshold is set anew on the non-mated pairs
that remain, at the candidate whose FMR is *nearest* the target; a pair is accepted if its dissimilarity is below it.

`fixed` (Schlett et al., arXiv 2303.13294): the largest threshold whose FMR on all non-mated pairs does not exceed
the target, once; a pair is accepted up to and at it; mated pairs are discarded, those of equal quality together.

Copies stand for pairs that a bootstrap drew several times: the curve is that of the list with each pair repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.discarding import Cut, Discarding, QualityOrder, Side
from fiqa_core.evaluation.errors import EvaluationError, UnmeasurableFmrError
from fiqa_core.evaluation.operating_point import at_most, nearest

PROTOCOLS = ("crfiqa", "fixed")
GRID = np.arange(0, 0.98, 0.05)  # as the CR-FIQA code makes it: its rounding decides how many pairs go
FULL = 0.95

_Rule = Callable[[Side, int, np.ndarray, float], tuple[float, float] | None]


@dataclass(frozen=True)
class Curve:
    """One EDC; all arrays have one entry a point.

    Attributes:
        protocol, fmr: which, and the target FMR.
        discard: discarded fraction (of all pairs for `crfiqa`, of the mated pairs for `fixed`), ascending from 0.
        threshold: dissimilarity of the operating point. achieved_fmr: share of the non-mated pairs it was set on
            whose dissimilarity is at most the threshold.
        n_mated, n_nonmated: mated pairs that remain; non-mated pairs that the threshold was set on.
        fnmr: share of the remaining mated pairs that are not accepted; lower = better. NaN where it cannot be
            measured (no pair of a kind left, or a target FMR below 1 / n_nonmated).
        quality: a pair remains at this point if its quality is at least this (only `fixed`; else NaN).
    """

    protocol: str
    fmr: float
    discard: np.ndarray
    threshold: np.ndarray
    achieved_fmr: np.ndarray
    n_mated: np.ndarray
    n_nonmated: np.ndarray
    fnmr: np.ndarray
    quality: np.ndarray

    def at(self, discard: np.ndarray) -> np.ndarray:
        """FNMR at any discarded fractions, float64, as a step function (a step lasts until the next point)."""
        return np.asarray(self.fnmr[np.searchsorted(self.discard, discard + 1e-12, "right") - 1])

    def thinned(self, discard: np.ndarray) -> "Curve":
        """The same step function with a point at each of these discarded fractions only."""
        rows = np.searchsorted(self.discard, discard + 1e-12, "right") - 1
        columns = (self.threshold, self.achieved_fmr, self.n_mated, self.n_nonmated, self.fnmr, self.quality)
        return Curve(self.protocol, self.fmr, discard, *(column[rows] for column in columns))

    def area(self, limit: float = FULL) -> float:
        """Area under the curve from 0 to a discarded fraction; lower = better.

        Trapezoids between the points for `crfiqa`, steps for `fixed`, as in each protocol's own code.
        NaN if the curve could not be measured up to the limit.
        """
        inside = self.discard <= limit + 1e-9
        if self.protocol == "crfiqa":
            return float(np.trapezoid(self.fnmr[inside], self.discard[inside]))
        edges = np.append(self.discard[inside], limit)
        return float((np.diff(edges) * self.fnmr[inside]).sum())


def check_measurable(pairs: int, fmrs: Sequence[float], allow_unmeasurable: bool = False) -> None:
    """Refuse target FMRs that are too small to be measured with this number of non-mated pairs.

    Raises:
        UnmeasurableFmrError: a target below 1 / P (unless allowed). EvaluationError: one outside (0, 1).
    """
    for fmr in fmrs:
        if not 0 < fmr < 1:
            raise EvaluationError(f"a target FMR of {fmr:g} is not between 0 and 1; give for example 1e-3")
        if pairs and fmr < 1 / pairs and not allow_unmeasurable:
            raise UnmeasurableFmrError(
                f"a target FMR of {fmr:g} cannot be measured with {pairs:,} non-mated pairs: the smallest rate they "
                f"can show is {1 / pairs:.2g}. Give more non-mated pairs or a larger FMR, or take what the protocol "
                "makes of it with --allow-unmeasurable."
            )


def crfiqa(
    comparisons: Comparisons,
    quality: QualityOrder,
    fmrs: Sequence[float],
    copies: np.ndarray | None = None,
    allow_unmeasurable: bool = False,
) -> list[Curve]:
    """One curve a target FMR under the CR-FIQA protocol.

    Args:
        copies: int (N,), how often each pair counts; None: once.
        allow_unmeasurable: give the protocol's numbers also where the target is below 1 / (non-mated pairs that
            remain); without it they are NaN there.
    """
    pairs = Discarding(comparisons, quality, copies)
    size = len(GRID)
    found = np.full((len(fmrs), 3, size), np.nan)
    n_mated, n_nonmated = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for step, share in enumerate(GRID if pairs.total else ()):
        cut = pairs.cut(float(share))
        mated = pairs.mated.left(cut)
        n_mated[step], n_nonmated[step] = mated.total(), pairs.nonmated_left(cut)
        if not n_mated[step] or not n_nonmated[step]:
            continue
        measurable = [fmr for fmr in fmrs if allow_unmeasurable or fmr >= 1 / n_nonmated[step]]
        points = _operating_points(nearest, pairs.nonmated, cut, int(n_nonmated[step]), mated.values, measurable)
        for row, fmr in enumerate(fmrs):
            if fmr in points:
                threshold, achieved = points[fmr]
                accepted = mated.head(int(np.searchsorted(mated.values, threshold, "left"))).total()
                found[row, :, step] = threshold, achieved, 1 - accepted / n_mated[step]
    nowhere = np.full(size, np.nan)
    return [
        Curve("crfiqa", fmr, GRID, found[row, 0], found[row, 1], n_mated, n_nonmated, found[row, 2], nowhere)
        for row, fmr in enumerate(fmrs)
    ]


def fixed(
    comparisons: Comparisons,
    quality: QualityOrder,
    fmrs: Sequence[float],
    copies: np.ndarray | None = None,
    allow_unmeasurable: bool = False,
) -> list[Curve]:
    """One curve a target FMR with a fixed threshold; a point for every distinct quality of a mated pair.

    Arguments as in `crfiqa`.
    """
    pairs = Discarding(comparisons, quality, copies)
    if not pairs.total:
        return [_nothing(fmr) for fmr in fmrs]
    everything = pairs.cut(0.0)
    n_nonmated = pairs.nonmated_left(everything)
    total = pairs.mated.total()
    if not n_nonmated or not total:
        return [_nothing(fmr) for fmr in fmrs]
    measurable = [fmr for fmr in fmrs if allow_unmeasurable or fmr >= 1 / n_nonmated]
    points = _operating_points(at_most, pairs.nonmated, everything, n_nonmated, pairs.mated.values, measurable)
    worst_first = np.argsort(pairs.mated.place)
    qualities = quality.quality[quality.order[pairs.mated.place[worst_first]]]
    groups = np.flatnonzero(np.append(True, qualities[1:] > qualities[:-1]))
    own = pairs.mated.copies[worst_first].astype(np.int64)
    left = total - _before(own)[groups]
    curves = []
    for fmr in fmrs:
        threshold, achieved = points.get(fmr, (np.nan, np.nan))
        failed = np.where(pairs.mated.values[worst_first] > threshold, own, 0)
        rates = (failed.sum() - _before(failed)[groups]) / left
        same = np.ones(len(groups))
        curves.append(
            Curve(
                "fixed",
                fmr,
                (total - left) / total,
                threshold * same,
                achieved * same,
                left,
                np.full(len(groups), n_nonmated),
                rates if fmr in points else np.nan * same,
                qualities[groups],
            )
        )
    return curves


def _operating_points(
    rule: _Rule, nonmated: Side, cut: Cut, pairs: int, mated_values: np.ndarray, fmrs: Sequence[float]
) -> dict[float, tuple[float, float]]:
    """(threshold, achieved FMR) by target: looked for among the most alike pairs first, there are many more."""
    points: dict[float, tuple[float, float]] = {}
    wanted = set(fmrs)
    reach = int(4 * max(fmrs, default=0.0) * len(nonmated.values)) + 1000
    before = 0
    while wanted - points.keys() and before < len(nonmated.values):
        near = nonmated.head(reach).left(cut)
        for fmr in wanted - points.keys():
            if len(near.values) and (point := rule(near, pairs, mated_values, fmr)):
                points[fmr] = point
        before, reach = reach, 8 * reach
    return points


def _before(numbers: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(numbers) - numbers)


def _nothing(fmr: float) -> Curve:
    unknown, none = np.full(1, np.nan), np.zeros(1, np.int64)
    return Curve("fixed", fmr, np.zeros(1), unknown, unknown, none, none, unknown, unknown)
