"""Which of several copies of one picture is the original: an order of rows that looks through the noise of scores.

Copies of one picture (recompressed, mirrored, brightened) have scores that differ by chance. So rows are compared by
score only as far as scores can tell them apart.
"""

import numpy as np

# Stored sizes that differ by less than this share say nothing: a brightened copy may need a few bytes more.
_SIZE_TOLERANCE = 0.1


def original_first(
    group: np.ndarray,
    wrong: np.ndarray,
    quality: np.ndarray,
    shape: tuple[np.ndarray, np.ndarray, np.ndarray],
    noise: float,
) -> np.ndarray:
    """Places of all rows, groups together, in each group the row that stays first.

    Rows whose label is judged wrong come last. Of the others those that score within `noise` of the best one come
    first, then those within `noise` of the best that is left, and so on. Rows that score alike are ordered by what the
    file says of its origin: larger picture, finer compression, clearly more bytes, first row.

    Args:
        group: int64 (n,), rows that are compared with each other. wrong: bool (n,). quality: float32 (n,).
        shape: pixels int64, quantisation float32 (mean step, smaller = finer), bytes int64; each (n,). Not known:
            0, infinity, 0. noise: scores that differ by no more are alike.
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
    """Where one of the columns has another value than in the row before; the first row counts."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _runs(values: np.ndarray, begins: np.ndarray, tolerance: float) -> np.ndarray:
    """Numbers of runs of rising values: a run ends where a value is over its first one by more than `tolerance`."""
    number, first = -1, 0.0
    runs = np.empty(len(values), np.int64)
    for place, (value, begin) in enumerate(zip(values.tolist(), begins.tolist(), strict=True)):
        if begin or value - first > tolerance:
            number, first = number + 1, value
        runs[place] = number
    return runs
