"""Cosines of many unit vectors with many others, in blocks; the same bits for any number of threads."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch

from fiqa_core.in_flight import in_flight

S = TypeVar("S")
T = TypeVar("T")

BLOCK = 2048


def in_threads(work: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """Results of `work` for each item, in order; a few run at once.

    Each product is computed by one thread: a product that is divided among cores would have other last bits on a
    machine with another number of cores.
    """
    before = torch.get_num_threads()
    one_each = functools.partial(torch.set_num_threads, 1)
    yield from in_flight(items, work, max(1, threads), number=threads + 1, name="similarity", initializer=one_each)
    torch.set_num_threads(before)


def as_float(vectors: np.ndarray) -> torch.Tensor:
    """float16 or float32 vectors as a float32 tensor."""
    if not vectors.flags.writeable:
        vectors = vectors.copy()
    return torch.from_numpy(vectors).float()


def blocks(count: int, size: int = BLOCK) -> list[slice]:
    """0..count in slices of `size`."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def unit_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 rows at unit length, and their lengths; rows of length 0 or with numbers that are not finite are left
    unchanged."""
    values = np.asarray(values, np.float32)
    # Scaled by the largest number first: the square of the largest float32 would overflow.
    scale = np.abs(values).max(axis=1, initial=0.0, keepdims=True)
    usable = np.isfinite(scale) & (scale > 0)
    scaled = np.divide(values, scale, out=np.zeros_like(values), where=usable)
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    unit = np.divide(scaled, length, out=scaled, where=length > 0)
    return unit, np.multiply(scale, length, out=scale, where=usable)[:, 0]


def best_other(
    vectors: np.ndarray,
    own: np.ndarray,
    centres: Iterable[tuple[np.ndarray, np.ndarray]],
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of another identity, for each vector.

    Args:
        vectors: (n, d), unit length. own: int64 (n,), code of each vector's own identity.
        centres: blocks of (codes int64 (m,), centres (m, d) of unit length), read once.

    Returns:
        code int64 (n,), -1 if there is no other; cosine float32 (n,). Of equally near centres the first.
    """
    code = np.full(len(own), -1, np.int64)
    cosine = np.full(len(own), -np.inf, np.float32)
    queries = [as_float(vectors[part]) for part in blocks(len(own))]
    for codes, values in centres:
        across = as_float(values).T.contiguous()
        place = {int(value): number for number, value in enumerate(codes.tolist())}

        def look(number: int, across: torch.Tensor = across, place: dict[int, int] = place) -> tuple[np.ndarray, ...]:
            products = queries[number] @ across
            start = number * BLOCK
            for row, value in enumerate(own[start : start + BLOCK].tolist()):
                if value in place:
                    products[row, place[value]] = -2.0
            best, at = products.max(dim=1)
            return best.numpy(), at.numpy()

        for number, (best, at) in enumerate(in_threads(look, range(len(queries)), threads)):
            part = slice(number * BLOCK, number * BLOCK + len(best))
            better = (best > cosine[part]) & (best > -2.0)
            cosine[part] = np.where(better, best, cosine[part])
            code[part] = np.where(better, codes[at], code[part])
    return code, np.where(code >= 0, cosine, np.nan).astype(np.float32)
