"""The gain that chance alone gives: the largest gain of random qualities."""

import numpy as np

from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.reference_curves import random_qualities

DRAWS = 99
LEVEL = 0.95
_STREAM = 2  # not the numbers of the random curve


def gain_by_chance(pairs: Pairs, comparisons: Comparisons, threshold: float, seed: int) -> float:
    """The 95 % quantile, over random orders of the images, of `recommend.largest_gain` at a fixed threshold.

    A measure whose largest gain is not larger cannot be distinguished from random (a permutation test at 5 %).
    Only mated pairs are ordered, so a draw costs far less than a random curve. Qualities are drawn for images, not
    pairs, so that the pairs of an image stay together; a measure that follows the person (her age, the camera) more
    than the image varies more than these draws, and a bootstrap band over subjects is the stricter judge.

    Args:
        threshold: dissimilarity up to which pairs are accepted; NaN gives NaN.
    """
    if np.isnan(threshold):
        return float("nan")
    failed = np.zeros(len(comparisons.mated), bool)
    failed[comparisons.mated_places[np.searchsorted(comparisons.mated_values, threshold, "right") :]] = True
    mated = np.flatnonzero(comparisons.mated)
    a, b, excess = pairs.a[mated], pairs.b[mated], failed[mated] - failed[mated].mean()
    gains = np.zeros(DRAWS)
    for number in range(DRAWS):
        quality = random_qualities(len(pairs.names), _STREAM, seed, number)
        of_pairs = np.minimum(quality[a], quality[b])
        order = np.argsort(of_pairs)
        ends = np.append(np.diff(of_pairs[order]) > 0, True)  # pairs of equal quality go together
        gains[number] = max(0.0, float(np.cumsum(excess[order])[ends].max()))
    return float(np.quantile(gains, LEVEL, method="higher"))
