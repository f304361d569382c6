"""Pairs of perceptual hashes that differ in few bits: exact, by bands.

Of d + 1 bands of bits at least one is equal in two hashes that differ in at most d bits (pigeonhole).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fiqa_core.curation.findings_settings import NearSettings
from fiqa_core.curation.near_pairs import Pairs, joined
from fiqa_core.curation.tasks import Counts, load_array, save_table
from fiqa_core.storage import join
from schemas.findings import PAIRS


def band_masks(bits: int) -> np.ndarray:
    """The bits of each of `bits` + 1 bands; uint64."""
    edges = np.linspace(0, 64, bits + 2).round().astype(int).tolist()
    return np.array([((1 << (high - low)) - 1) << low for low, high in itertools.pairwise(edges)], np.uint64)


def close_values(values: np.ndarray, bits: int, band: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places (i, j) and the number of differing bits of different values whose first equal band is `band`.

    Memory is that of `values` whatever they are; the time is that of all pairs with an equal band.

    Args:
        values: uint64 (n,), each there once.
    """
    masks = band_masks(bits)
    key = values & masks[band]
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    left = np.arange(len(values))
    step = 1
    while len(left):
        left = left[left + step < len(values)]
        left = left[key[left] == key[left + step]]
        differing = values[left] ^ values[left + step]
        count = np.bitwise_count(differing)
        good = count <= bits
        for earlier in masks[:band]:
            good &= (differing & earlier) != 0
        at = left[good]
        yield order[at], order[at + step], count[good]
        step += 1


def phash_pairs(phash: np.ndarray, rid: np.ndarray, own: int, bits: int, most: int, band: int) -> Pairs:
    """Pairs of rows with at least one of the dataset, of those values whose first equal band is `band`.

    Of rows with one value every row is paired with the first only (band 0 does it): a placeholder that is there ten
    thousand times makes ten thousand pairs. Two groups of different values make all their pairs up to `most` of
    them, and else that of their first rows.

    Args:
        phash: uint64 (n,). rid: int64 (n,), rising.
    """
    order = np.argsort(phash, kind="stable")
    values, starts, sizes = np.unique(phash[order], return_index=True, return_counts=True)
    members = rid[order]
    found = [_of_one_value(members, starts, sizes, own)] if band == 0 else []
    for i, j, count in close_values(values, bits, band):
        found.append(_of_two(members, starts, sizes, (i, j, count), own, most))
    return joined(found)


def _of_one_value(members: np.ndarray, starts: np.ndarray, sizes: np.ndarray, own: int) -> Pairs:
    first = np.repeat(members[starts], sizes)
    good = (members != first) & (first < own)
    return Pairs(first[good], members[good], np.ones(int(good.sum()), np.float32), 0)


def _of_two(
    members: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    values: tuple[np.ndarray, np.ndarray, np.ndarray],
    own: int,
    most: int,
) -> Pairs:
    i, j, count = values
    pairs = sizes[i] * sizes[j]
    whole = pairs <= most
    made = np.where(whole, pairs, 1)
    pair = np.repeat(np.arange(len(i)), made)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(made) - made, made)
    one = members[starts[i][pair] + np.where(whole[pair], within // sizes[j][pair], 0)]
    two = members[starts[j][pair] + np.where(whole[pair], within % sizes[j][pair], 0)]
    a, b = np.minimum(one, two), np.maximum(one, two)
    good = a < own
    similarity = (1 - count[pair] / 64).astype(np.float32)
    return Pairs(a[good], b[good], similarity[good], int((pairs - made).sum()))


@dataclass(frozen=True)
class PhashTask:
    """One band of all hashes -> one file of pairs."""

    output: str
    work: str
    target: str
    band: int
    own: int
    settings: NearSettings

    @property
    def name(self) -> str:
        return f"phash-{self.band:06d}"

    def run(self) -> Counts:
        """Find the pairs and publish."""
        first = load_array(join(self.work, "first.npy"))
        rid = np.flatnonzero(load_array(join(self.work, "hashed.npy")) & (first == np.arange(len(first))))
        phash, high = load_array(join(self.work, "phash.npy")), load_array(join(self.work, "high.npy"))
        pairs = phash_pairs(phash[rid], rid, self.own, self.settings.most_bits, self.settings.most, self.band)
        other = (high[pairs.a] != high[pairs.b]) | (high[pairs.a] == 0)
        columns = {
            "a": pairs.a[other],
            "b": pairs.b[other],
            "similarity": pairs.similarity[other],
            "kind": np.full(int(other.sum()), "phash", object),
        }
        save_table(columns, PAIRS, self.output, self.target)
        return {"pairs_phash": int(other.sum()), "pairs_left_out": pairs.left_out}
