"""Vectors that are there very often, bit for bit: a few of each tell what all of them are near to."""

import numpy as np

from fiqa_core.curation.findings.similarity import BLOCK, blocks

# How far a product with itself may be off; nearer to the limit, rounding decides what a vector is near to.
_ROUNDING = 1e-4


def few_of_each(vectors: np.ndarray, cosine: float, few: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows to compare with each other, and of those that repeat a vector that is among them `few` times.

    To compare every row with every other takes time that grows with the square of their number, and among equal ones
    it tells nothing new.

    Args:
        vectors: float16 or float32 (n, d), unit length. cosine: from which on rows count as near.

    Returns:
        Two int64 arrays, rising, together 0..n-1.
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
    """A number of 64 bits for each row, equal for equal bits."""
    words = np.ascontiguousarray(vectors).view(f"u{vectors.dtype.itemsize}")
    weights = np.random.default_rng(0).integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    found = [words[part].astype(np.uint64) @ weights for part in blocks(len(words))]
    return np.concatenate(found)
