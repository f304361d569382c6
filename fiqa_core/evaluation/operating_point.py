"""The threshold at a target FMR, by the rule of each protocol."""

import math

import numpy as np

from fiqa_core.evaluation.discarding import Side


def nearest(near: Side, pairs: int, mated_values: np.ndarray, fmr: float) -> tuple[float, float] | None:
    """The candidate threshold whose FMR is nearest the target (CR-FIQA); (threshold, its FMR).

    Candidates are the distinct dissimilarities of all pairs, FMR(t) the share of non-mated pairs with a
    dissimilarity of at most t; of two that are equally near, the larger threshold.

    Args:
        near: non-mated pairs with the smallest dissimilarities, at least one. pairs: all non-mated pairs.
        mated_values: float64, ascending. fmr: in (0, 1).

    Returns:
        None if `near` is only a part of the pairs and does not reach far enough to tell.
    """
    values = near.values
    counts = np.cumsum(near.copies, dtype=np.int64)
    is_all = int(counts[-1]) == pairs
    middle = min(int(np.searchsorted(counts, fmr * pairs, "left")), len(values) - 1)
    # The rates that can be nearest are those of the group of equal values at the target and of its neighbours.
    start = int(np.searchsorted(values, values[middle], "left"))
    ends = [start - 1, _end(values, middle)]
    if start > 0:
        ends.append(int(np.searchsorted(values, values[start - 1], "left")) - 1)
    if ends[1] + 1 < len(values):
        ends.append(_end(values, ends[1] + 1))
    if not is_all and max(ends) == len(values) - 1:
        return None  # the last group, or the pairs after it, may not be in `near`
    best: tuple[float, int, float] | None = None
    for end in sorted(set(ends), reverse=True):
        following = values[end + 1] if end + 1 < len(values) else math.inf
        threshold = _largest(values[: end + 1], mated_values, following)
        if threshold is None:
            continue
        achieved = int(counts[end]) / pairs if end >= 0 else 0.0
        if best is None or abs(achieved - fmr) < best[0]:
            best = abs(achieved - fmr), end, threshold
    if best is None:
        raise AssertionError("a group of non-mated values is always a candidate")
    return best[2], int(counts[best[1]]) / pairs if best[1] >= 0 else 0.0


def at_most(near: Side, pairs: int, mated_values: np.ndarray, fmr: float) -> tuple[float, float] | None:
    """The largest threshold whose FMR does not exceed the target (Schlett et al.); (threshold, its FMR).

    Among the numbers below the first non-mated dissimilarity that exceeds the target, the largest that occurs is
    returned (no pair lies in between); if none occurs, the largest number below it. Arguments and None as in `nearest`.
    """
    counts = np.cumsum(near.copies, dtype=np.int64)
    if int(counts[-1]) / pairs <= fmr:
        return None  # for a target below 1 the pairs that exceed it are not in `near`
    over = int(np.searchsorted(counts, fmr * pairs, "right"))
    while over > 0 and int(counts[over - 1]) / pairs > fmr:  # the product above was rounded
        over -= 1
    while over < len(counts) - 1 and int(counts[over]) / pairs <= fmr:
        over += 1
    over = int(np.searchsorted(near.values, near.values[over], "left"))
    following = float(near.values[over])
    threshold = _largest(near.values[:over], mated_values, following)
    achieved = int(counts[over - 1]) / pairs if over else 0.0
    return (math.nextafter(following, -math.inf) if threshold is None else threshold), achieved


def _end(values: np.ndarray, place: int) -> int:
    return int(np.searchsorted(values, values[place], "right")) - 1


def _largest(nonmated: np.ndarray, mated: np.ndarray, below: float) -> float | None:
    """The largest dissimilarity that occurs below a number."""
    count = int(np.searchsorted(mated, below, "left"))
    found = [float(values[-1]) for values in (nonmated, mated[:count]) if len(values)]
    return max(found) if found else None
