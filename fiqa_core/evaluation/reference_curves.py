"""The two curves between which a quality measure should lie: random qualities above, perfect knowledge below."""

from collections.abc import Iterator, Sequence

import numpy as np

from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.edc import GRID, Curve
from fiqa_core.evaluation.pairs import Pairs

# A random or oracle curve of the `fixed` protocol has a point for each pair; these points are enough to show it.
FINE_GRID = np.arange(100) / 100
_STREAM = 1  # other random numbers than the bootstrap's of the same seed


def oracle(comparisons: Comparisons) -> QualityOrder:
    """The best order: the least alike mated pairs and the most alike non-mated pairs are discarded first.

    At every point the same share of either kind is discarded. No order does better at a fixed threshold (where only
    mated pairs are discarded), nor under `crfiqa` among those that take the same share of either kind.
    """
    quality = np.empty(len(comparisons.mated))
    mated, nonmated = len(comparisons.mated_places), len(comparisons.nonmated_places)
    quality[comparisons.mated_places] = np.arange(mated)[::-1] / mated
    quality[comparisons.nonmated_places] = np.arange(nonmated) / nonmated
    return QualityOrder.of(quality)


def random_orders(pairs: Pairs, seeds: int, seed: int) -> Iterator[QualityOrder]:
    """Orders by uniform random qualities of the images; one for each seed."""
    for number in range(seeds):
        quality = random_qualities(len(pairs.names), _STREAM, seed, number)
        yield QualityOrder.of(np.minimum(quality[pairs.a], quality[pairs.b]))


def random_qualities(count: int, stream: int, seed: int, number: int) -> np.ndarray:
    """Random qualities, float64 (count,), uniform in [0, 1)."""
    return np.random.default_rng([stream, seed, number]).random(count)


def mean_curve(curves: Sequence[Curve]) -> tuple[Curve, np.ndarray, np.ndarray]:
    """The mean of curves of one protocol and target over seeds, and its 2.5 % and 97.5 % quantiles.

    Threshold, achieved FMR and numbers of pairs are means too (numbers rounded).
    """
    grid = GRID if curves[0].protocol == "crfiqa" else FINE_GRID
    thin = [curve.thinned(grid) for curve in curves]

    def mean(name: str) -> np.ndarray:
        return np.asarray(np.mean([getattr(curve, name) for curve in thin], axis=0))

    fnmr = np.stack([curve.fnmr for curve in thin])
    middle = Curve(
        curves[0].protocol,
        curves[0].fmr,
        grid,
        mean("threshold"),
        mean("achieved_fmr"),
        np.rint(mean("n_mated")).astype(np.int64),
        np.rint(mean("n_nonmated")).astype(np.int64),
        fnmr.mean(axis=0),
        np.full(len(grid), np.nan),
    )
    low, high = np.quantile(fnmr, [0.025, 0.975], axis=0)
    return middle, low, high
