"""Pairs of perceptual hashes that differ in few bits: exact, by bands.

Of d + 1 bands of bits at least one is equal in two hashes that differ in at most d bits (pigeonhole).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.curation.findings.near_duplicates.cosine_pairs import NearPairs, joined, plain
from fiqa_core.curation.findings.settings import NearSettings
from fiqa_core.curation.findings.tasks import Counts, load_array, save_table
from fiqa_core.storage import join
from schemas.findings import PAIRS


def band_masks(bits: int) -> np.ndarray:
    """The bits of each of `bits` + 1 bands; uint64."""
    edges = np.linspace(0, 64, bits + 2).round().astype(int).tolist()
    return np.array([((1 << (high - low)) - 1) << low for low, high in itertools.pairwise(edges)], np.uint64)


def close_values(values: np.ndarray, bits: int, band: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places (i, j) of pairs of values whose first equal band is `band`, and the number of differing bits.

    Memory grows with `values` only; time with the number of pairs that have an equal band.

    Args:
        values: uint64 (n,), distinct.
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


def phash_pairs(phash: np.ndarray, rid: np.ndarray, own: int, bits: int, band: int) -> NearPairs:
    """Pairs of rows, at least one of them of the dataset, whose values have `band` as their first equal band.

    The dataset's rows with one value are a crowd around the first (found in band 0), and two values are one pair, of
    their first rows: a placeholder that occurs ten thousand times makes ten thousand pairs. Each row is paired with
    one row outside the dataset, of the nearest value.

    Args:
        phash: uint64 (n,). rid: int64 (n,), ascending.
    """
    mine = int(np.searchsorted(rid, own))
    values, number = np.unique(phash, return_inverse=True)
    first = np.full((2, len(values)), np.iinfo(np.int64).max)
    np.minimum.at(first[0], number[:mine], rid[:mine])
    np.minimum.at(first[1], number[mine:], rid[mine:])
    is_own, is_other = first < np.iinfo(np.int64).max
    found = []
    # For each value the nearest one of another dataset: fewest differing bits, then the first row.
    nearest = np.full(len(values), bits + 1), np.full(len(values), np.iinfo(np.int64).max)
    if band == 0:
        middle = first[0][number[:mine]]
        some = rid[:mine][middle != rid[:mine]]
        middle = middle[middle != rid[:mine]]
        found.append(NearPairs(middle, some, np.ones(len(some), np.float32), middle))
        nearest[0][is_own & is_other] = 0
        nearest[1][is_own & is_other] = first[1][is_own & is_other]
    for i, j, count in close_values(values, bits, band):
        both = is_own[i] & is_own[j]
        a, b = first[0][i[both]], first[0][j[both]]
        found.append(plain(np.minimum(a, b), np.maximum(a, b), _similarity(count[both])))
        for one, other in ((i, j), (j, i)):
            good = is_own[one] & is_other[other]
            _take_nearer(nearest, one[good], count[good], first[1][other[good]])
    paired = nearest[0][number[:mine]] <= bits
    of = number[:mine][paired]
    found.append(plain(rid[:mine][paired], nearest[1][of], _similarity(nearest[0][of])))
    return joined(found)


def _similarity(bits: np.ndarray) -> np.ndarray:
    return np.asarray((1 - bits / 64).astype(np.float32))


def _take_nearer(nearest: tuple[np.ndarray, np.ndarray], at: np.ndarray, bits: np.ndarray, row: np.ndarray) -> None:
    """Keep for each value (`at`) the row with the fewest differing bits, of equals the first."""
    order = np.lexsort((row, bits, at))
    at, bits, row = at[order], bits[order], row[order]
    new = np.ones(len(at), bool)
    new[1:] = at[1:] != at[:-1]
    at, bits, row = at[new], bits[new], row[new]
    nearer = (bits < nearest[0][at]) | ((bits == nearest[0][at]) & (row < nearest[1][at]))
    nearest[0][at[nearer]], nearest[1][at[nearer]] = bits[nearer], row[nearer]


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
        pairs = phash_pairs(phash[rid], rid, self.own, self.settings.most_bits, self.band)
        other = (high[pairs.a] != high[pairs.b]) | (high[pairs.a] == 0)
        columns = {
            "a": pairs.a[other],
            "b": pairs.b[other],
            "similarity": pairs.similarity[other],
            "kind": np.full(int(other.sum()), "phash", object),
            "crowd": pa.array(pairs.crowd[other], mask=pairs.crowd[other] < 0),
        }
        save_table(columns, PAIRS, self.output, self.target)
        return {"pairs_phash": int(other.sum()), "pairs_left_out": pairs.left_out}
