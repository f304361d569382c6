"""Which of several copies of one picture is the original: an order of rows that ignores the noise of scores.

Copies of one picture (recompressed, mirrored, brightened) have scores that differ by chance. So rows are compared by
score only if the scores differ by more than that noise.
"""

import numpy as np

# Stored sizes count as equal if they differ by less than this share: a brightened copy may need a few bytes more.
_SIZE_TOLERANCE = 0.1


def original_first(
    group: np.ndarray,
    wrong: np.ndarray,
    quality: np.ndarray,
    shape: tuple[np.ndarray, np.ndarray, np.ndarray],
    noise: float,
) -> np.ndarray:
    """Places of all rows, group by group; in each group the row to keep comes first.

    Rows whose label is judged wrong come last. Of the others, those that score within `noise` of the best one come
    first, then those within `noise` of the best one left, and so on. Rows with such equal scores are ordered by signs
    of an original: larger picture, finer compression, clearly more bytes, first row.

    Args:
        group: int64 (n,), rows that are compared with each other. wrong: bool (n,). quality: float32 (n,).
        shape: pixels int64, quantisation float32 (mean step, smaller = finer), bytes int64; each (n,). Unknown:
            0, infinity, 0. noise: scores that differ by no more count as equal.
    """
    quality = quality.astype(np.float64)
    pixels, quantisation, size = shape
    rows = np.arange(len(group))
    order = np.lexsort((rows, -quality, wrong, group))
    alike = _runs(-quality[order], _changes(group[order], wrong[order]), noise)
    order = order[np.lexsort((order, -size[order], quantisation[order], -pixels[order], alike))]
    same_kind = _changes(alike, pixels[order], quantisation[order])
    sizes = -np.log(np.maximum(size[order], 1).astype(np.float64))
    in_size = _runs(sizes, same_kind, -np.log1p(-_SIZE_TOLERANCE))
    return np.asarray(order[np.lexsort((order, in_size))])


def _changes(*columns: np.ndarray) -> np.ndarray:
    """True where a column has another value than in the row before, and in the first row."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _runs(values: np.ndarray, begins: np.ndarray, tolerance: float) -> np.ndarray:
    """Number of each value's run: a run ends before a value that exceeds its first one by more than `tolerance`."""
    number, first = -1, 0.0
    runs = np.empty(len(values), np.int64)
    for place, (value, begin) in enumerate(zip(values.tolist(), begins.tolist(), strict=True)):
        if begin or value - first > tolerance:
            number, first = number + 1, value
        runs[place] = number
    return runs
