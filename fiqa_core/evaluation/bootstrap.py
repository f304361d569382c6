"""Confidence bands by bootstrap over subjects.

Pairs are not independent: one person's images are in many of them. So subjects are resampled, not pairs: as many
subjects as the dataset has are drawn with replacement, and subject s occurs w_s times in the resample. A mated pair
of s then counts w_s times, a non-mated pair of s and t counts w_s * w_t times (copies of one subject are never
compared as non-mated). This is the vertex bootstrap (Snijders and Borgatti, Connections 22(2), 1999), which Fogliato,
Patil and Perona (arXiv 2306.01198) study for error rates of 1:1 matching. Thresholds are set anew in every resample,
so the bands cover their uncertainty too; no list of pairs is made, the curves take the counts as weights. Bands are
percentile intervals.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.pairs import Pairs

INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Resampling:
    """Subjects of the images and how often they are drawn.

    `subjects`: int (I,), of each name of the pair list, 0 .. S - 1. `replicates`, `seed`: how many resamples, which.
    """

    subjects: np.ndarray
    replicates: int
    seed: int = 0

    def copies(self, pairs: Pairs) -> Iterator[np.ndarray]:
        """How often each pair counts, int32 (N,), in each resample; depends on the seed and its number only."""
        count = int(self.subjects.max()) + 1
        for number in range(self.replicates):
            drawn = np.random.default_rng([self.seed, number]).multinomial(count, np.full(count, 1 / count))
            of_images = drawn.astype(np.int32)[self.subjects]
            copies = of_images[pairs.a]
            copies[~pairs.mated] *= of_images[pairs.b[~pairs.mated]]
            yield copies


@dataclass(frozen=True)
class Bands:
    """95 % bands of one curve: of the FNMR at its points, and of the numbers asked for.

    `samples`: float64 (R, K), the numbers in each resample; resample r draws the same subjects for every measure, so
    differences of two measures' samples are paired. None where the band is not one over subjects.
    """

    fnmr_low: np.ndarray
    fnmr_high: np.ndarray
    numbers_low: np.ndarray
    numbers_high: np.ndarray
    samples: np.ndarray | None = None


def bands(
    curves: list[Curve],
    pairs: Pairs,
    resampling: Resampling,
    resampled: Callable[[np.ndarray], list[Curve]],
    numbers: Callable[[Curve], np.ndarray],
) -> list[Bands]:
    """Bands of curves.

    Args:
        resampled: the same curves again, given how often each pair counts.
        numbers: float64 (K,) of a curve, its areas for example.
    """
    rates: list[list[np.ndarray]] = [[] for _ in curves]
    others: list[list[np.ndarray]] = [[] for _ in curves]
    for copies in resampling.copies(pairs):
        for row, (curve, again) in enumerate(zip(curves, resampled(copies), strict=True)):
            rates[row].append(again.at(curve.discard).astype(np.float32))
            others[row].append(numbers(again))
    found = []
    for row, curve in enumerate(curves):
        low, high = interval(np.stack(rates[row]))
        unknown = np.isnan(curve.fnmr)
        low[unknown] = high[unknown] = np.nan
        samples = np.stack(others[row])
        found.append(Bands(low, high, *interval(samples), samples))
    return found


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile intervals of samples, float (R, K); NaN where no sample is known."""
    # A resample in which a point does not exist (no pair of a kind is left) is not used for that point.
    known = ~np.isnan(samples).all(axis=0)
    bounds = np.full((2, samples.shape[1]), np.nan)
    bounds[:, known] = np.nanquantile(samples[:, known], INTERVAL, axis=0)
    return bounds[0], bounds[1]


def subjects_of(pairs: Pairs, labels: list[str | None] | None) -> np.ndarray:
    """Subject of each name, int64 (I,): by label, or (without labels) by the groups that mated pairs connect.

    Images that mated pairs connect show one person; an image in no mated pair is a subject of its own.
    """
    if labels is not None and None not in labels:
        return np.asarray(pa.array(labels).dictionary_encode().indices.to_numpy().astype(np.int64))
    lowest = np.arange(len(pairs.names))
    a, b = pairs.a[pairs.mated], pairs.b[pairs.mated]
    while True:
        before = lowest.copy()
        smaller = np.minimum(lowest[a], lowest[b])
        np.minimum.at(lowest, a, smaller)
        np.minimum.at(lowest, b, smaller)
        lowest = lowest[lowest]
        if np.array_equal(before, lowest):
            return np.asarray(np.unique(lowest, return_inverse=True)[1])
