"""FNMR of each group of people, without discarding and with the worst pairs of all groups discarded by each measure.

One threshold holds for all groups, set once on all non-mated pairs, as in a system in use. A mated pair belongs to a
group if both of its images do. Discarding cuts at one quality for all, so the table also says what share of each
group's pairs goes. Bands resample subjects: how often a group's own subjects are drawn decides how wide its band is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.bootstrap import Resampling, interval
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.poor_images import failed_pairs

SHARES = (0.0, 0.1, 0.2, 0.3)
NO_GROUP, MIXED = "(no group)", "(two groups)"


def group_rows(
    dataset: str,
    fr_model: str,
    pairs: Pairs,
    comparisons: Comparisons,
    methods: Mapping[str, np.ndarray],
    groups: pa.Array,
    fmrs: Sequence[float],
    resampling: Resampling | None = None,
) -> list[dict[str, Any]]:
    """Rows of groups.csv (schemas/edc.py).

    Args:
        methods: quality of each name of the pair list, float64 (I,), by measure; higher = better.
        groups: text (I,), of each name; null: none. fmrs: targets; those that cannot be measured give no row.
        resampling: for bands; the subjects drawn are those of every other band of this evaluation. None: no bands.
    """
    names, of_pairs = _groups_of_pairs(pairs, groups)
    fmrs = [fmr for fmr in fmrs if fmr >= 1 / len(comparisons.nonmated_places)]
    measures = {method: _Measure.of(quality, pairs) for method, quality in methods.items()}
    counted = _Counted(pairs, comparisons, list(measures.values()), of_pairs, len(names), fmrs)
    once = np.ones(len(pairs), np.int32)
    own, left, failed = counted.of(once)
    low, high = (np.full(failed.shape, np.nan) for _ in range(2))
    if resampling is not None and fmrs:
        low, high = _bands(counted, resampling, failed.shape)
    rows = []
    for at, fmr in enumerate(fmrs):
        for which, method in enumerate(measures):
            for step, share in enumerate(SHARES):
                for place, name in enumerate(names):
                    remain = int(left[which, step, place])
                    here = (at, which, step, place)
                    rows.append(
                        {
                            "dataset": dataset,
                            "fr_model": fr_model,
                            "method": method,
                            "fmr": fmr,
                            "group": name,
                            "discard": share,
                            "n_mated": int(own[place]),
                            "discarded": 1 - remain / int(own[place]),
                            "failed": int(failed[here]),
                            "fnmr": int(failed[here]) / remain if remain else float("nan"),
                            "fnmr_low": float(low[here]) if remain else float("nan"),
                            "fnmr_high": float(high[here]) if remain else float("nan"),
                        }
                    )
    return rows


@dataclass(frozen=True)
class _Measure:
    """The worse quality of each mated pair, float64 (M,), and their order, worst first."""

    worse: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, quality: np.ndarray, pairs: Pairs) -> "_Measure":
        worse = np.minimum(quality[pairs.a[pairs.mated]], quality[pairs.b[pairs.mated]])
        return cls(worse, np.argsort(worse, kind="stable"))

    def left(self, share: float, weights: np.ndarray) -> np.ndarray:
        """Whether each pair remains, bool (M,), if at most this share goes; pairs of equal quality go together.

        `weights`: int (M,), how often each pair counts.
        """
        most = int(share * weights.sum() + 1e-9)
        first = int(np.searchsorted(np.cumsum(weights[self.order]), most, "right"))
        return np.asarray(self.worse >= self.worse[self.order[first]])


@dataclass(frozen=True)
class _Counted:
    """Counts of mated pairs by group, for any resample."""

    pairs: Pairs
    comparisons: Comparisons
    measures: Sequence[_Measure]
    of_pairs: np.ndarray
    groups: int
    fmrs: Sequence[float]

    def of(self, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of each group (G,), those that remain (measures, shares, G) and those of them that fail (FMRs,
        measures, shares, G), each counted as often as `copies`, int (N,), says; the threshold is set anew."""
        weights = copies[self.pairs.mated]
        all_failed = [each[self.pairs.mated] for each in failed_pairs(self.comparisons, self.fmrs, copies)]
        shape = (len(self.measures), len(SHARES), self.groups)
        left, failed = np.zeros(shape), np.zeros((len(self.fmrs), *shape))
        for which, measure in enumerate(self.measures):
            for step, share in enumerate(SHARES):
                remaining = weights * measure.left(share, weights)
                left[which, step] = self._by_group(remaining)
                for at, each in enumerate(all_failed):
                    failed[at, which, step] = self._by_group(remaining * each)
        # Too few non-mated pairs are drawn for a threshold at this rate: nothing is known of it.
        nonmated = int(copies[~self.pairs.mated].sum())
        failed[[fmr * nonmated < 1 for fmr in self.fmrs]] = np.nan
        return self._by_group(weights), left, failed

    def _by_group(self, weights: np.ndarray) -> np.ndarray:
        return np.bincount(self.of_pairs, weights, self.groups)


def _bands(counted: _Counted, resampling: Resampling, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % bands of the FNMR, float64 (FMRs, measures, shares, G); NaN where no resample has pairs."""
    mated = counted.pairs.mated
    samples = []
    for copies in resampling.copies(counted.pairs):
        if copies[mated].any() and copies[~mated].any():
            _, left, failed = counted.of(copies)
            with np.errstate(invalid="ignore"):  # a group without a pair in this resample
                samples.append((failed / left).ravel())
    if not samples:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    low, high = interval(np.stack(samples))
    return low.reshape(shape), high.reshape(shape)


def _groups_of_pairs(pairs: Pairs, groups: pa.Array) -> tuple[list[str], np.ndarray]:
    """Names of the groups that have mated pairs, and the number of each mated pair's group."""
    texts = np.array([NO_GROUP if name is None else name for name in groups.to_pylist()], object)
    a, b = texts[pairs.a[pairs.mated]], texts[pairs.b[pairs.mated]]
    names, places = np.unique(np.where(a == b, a, MIXED).astype(str), return_inverse=True)
    return names.tolist(), places
