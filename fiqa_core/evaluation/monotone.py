"""The monotone curve that fits best: pool adjacent violators (Ayer et al. 1955; Barlow et al. 1972)."""

import numpy as np


def falling_fit(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The never rising sequence with the least weighted squared distance to `values`, float64 (N,).

    Each run of equal results is the weighted mean of its values, so rates stay rates.

    Args:
        values, weights: float (N,); weights above 0.
    """
    means: list[float] = []
    sums: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while means and means[-1] <= mean:
            earlier = sums.pop()
            mean = (means.pop() * earlier + mean * total) / (earlier + total)
            total += earlier
            length += lengths.pop()
        means.append(mean)
        sums.append(total)
        lengths.append(length)
    return np.repeat(np.array(means, np.float64), lengths)
