"""Vectors that occur very often, bit for bit: it is enough to compare a few of each."""

import numpy as np

from fiqa_core.curation.findings.similarity import BLOCK, blocks

# Rounding error of a vector's product with itself; a limit within it of 1 would depend on rounding.
_ROUNDING = 1e-4


def few_of_each(vectors: np.ndarray, cosine: float, few: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows to compare with each other, and of rows that repeat a vector which is among those `few` times.

    Comparing every row with every other takes quadratic time, and among equal rows it gives nothing new.

    Args:
        vectors: float16 or float32 (n, d), unit length. cosine: least cosine of rows that count as near.

    Returns:
        Two int64 arrays, ascending, together 0..n-1.
    """
    if len(vectors) <= few:
        return np.arange(len(vectors)), np.empty(0, np.int64)
    hashes = _hashes(vectors)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
    count = np.diff(np.append(starts, len(order)))
    surplus = []
    for start, number in zip(starts[count > few].tolist(), count[count > few].tolist(), strict=True):
        places = order[start : start + number]
        vector = vectors[places[0]]
        own = vector.astype(np.float32)
        if own @ own <= cosine + _ROUNDING:
            continue
        equal = [places[part][(vectors[places[part]] == vector).all(axis=1)] for part in blocks(number, BLOCK)]
        surplus.append(np.concatenate(equal)[few:])
    if not surplus:
        return np.arange(len(vectors)), np.empty(0, np.int64)
    is_surplus = np.zeros(len(vectors), bool)
    is_surplus[np.concatenate(surplus)] = True
    return np.flatnonzero(~is_surplus), np.flatnonzero(is_surplus)


def _hashes(vectors: np.ndarray) -> np.ndarray:
    """A 64-bit number for each row, equal for rows with equal bits."""
    words = np.ascontiguousarray(vectors).view(f"u{vectors.dtype.itemsize}")
    weights = np.random.default_rng(0).integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    found = [words[part].astype(np.uint64) @ weights for part in blocks(len(words))]
    return np.concatenate(found)
