"""Pairs made from labels, where a dataset has no pair list: mated within identities, non-mated between them."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.wording import counted

DEFAULT_COUNT = 10_000
_SPEC = re.compile(r"labels(?::mated=(\d{1,12})(?:,nonmated=(\d{1,12}))?)?")


@dataclass(frozen=True)
class LabelPairs:
    """How many pairs are made: `mated` at most (all of them, where there are fewer), and `nonmated` likewise."""

    mated: int
    nonmated: int


def is_label_pairs(path: str) -> bool:
    """Whether `--pairs` asks for pairs from labels: `labels`, `labels:mated=N` or `labels:mated=N,nonmated=M`."""
    return path == "labels" or path.startswith("labels:")


def parse_label_pairs(path: str) -> LabelPairs:
    """How many pairs are asked for. Unless named, as many non-mated ones as mated ones, and `DEFAULT_COUNT` or more:
    so that a false match rate of 1e-4 can be measured.

    Raises:
        EvaluationError: not of that form, or 0 pairs.
    """
    match = _SPEC.fullmatch(path)
    if match is None:
        raise EvaluationError(
            f"--pairs {path}: expected labels, labels:mated=N or labels:mated=N,nonmated=M, with whole numbers"
        )
    mated = int(match[1]) if match[1] else DEFAULT_COUNT
    nonmated = int(match[2]) if match[2] else max(mated, DEFAULT_COUNT)
    if not mated or not nonmated:
        raise EvaluationError(f"--pairs {path}: error rates need pairs of both kinds, so neither number can be 0")
    return LabelPairs(mated, nonmated)


def pairs_of_labels(keys: pa.Array, labels: pa.Array, wanted: LabelPairs, seed: int, where: str) -> Pairs:
    """Pairs drawn at random, each once: every mated pair is as likely as any other, and every non-mated one likewise.

    The same keys, labels, numbers and seed give the same pairs.

    Args:
        keys, labels: text, of each image; images without either are left out.
        where: what the labels are of, said in errors.

    Raises:
        EvaluationError: fewer than two identities, or no identity with two images.
    """
    known = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False) & labels.is_valid().to_numpy(False))
    codes = labels.take(pa.array(known)).dictionary_encode().indices.to_numpy().astype(np.int64)
    random = np.random.default_rng(seed)
    mated = _mated(codes, wanted.mated, random)
    nonmated = _nonmated(codes, wanted.nonmated, random)
    if not len(mated) or not len(nonmated):
        identities = len(np.unique(codes))
        raise EvaluationError(
            f"--pairs labels: {where} has {counted(identities, 'identity', 'identities')} in "
            f"{counted(len(codes), 'labelled image')}; pairs need two or more identities, and one of them with two or "
            "more images. Give labels by --labels, or a pair list."
        )
    both = np.concatenate([mated, nonmated])
    used, places = np.unique(both, return_inverse=True)
    places = places.reshape(both.shape).astype(np.int32)
    names = [str(name) for name in keys.take(pa.array(known[used])).to_pylist()]
    return Pairs(names, places[:, 0].copy(), places[:, 1].copy(), np.arange(len(both)) < len(mated))


def _mated(codes: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    """Pairs of places with one code, int64 (N, 2)."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0]) if len(codes) else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, len(codes)])
    ends = np.cumsum(sizes * (sizes - 1) // 2)  # pairs of all identities up to each one
    total = int(ends[-1]) if len(ends) else 0
    chosen = np.sort(random.choice(total, min(wanted, total), replace=False, shuffle=False)) if total else ends[:0]
    identity = np.searchsorted(ends, chosen, "right")
    number = chosen - np.r_[0, ends][identity]
    # The pairs of one identity in the order (0, 1), (0, 2), (1, 2), (0, 3) ...
    second = ((1 + np.sqrt(1 + 8 * number.astype(np.float64))) // 2).astype(np.int64)
    second -= second * (second - 1) // 2 > number
    first = number - second * (second - 1) // 2
    return np.stack([order[starts[identity] + first], order[starts[identity] + second]], axis=1)


def _nonmated(codes: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    """Pairs of places with two codes, int64 (N, 2)."""
    count = len(codes)
    sizes = np.bincount(codes) if count else np.zeros(0, np.int64)
    possible = count * (count - 1) // 2 - int((sizes * (sizes - 1) // 2).sum())
    wanted = min(wanted, possible)
    found = np.zeros(0, np.int64)
    while len(found) < wanted:
        missing = wanted - len(found)
        a, b = random.integers(0, count, (2, 2 * missing + 16))
        a, b = np.minimum(a, b), np.maximum(a, b)
        drawn = (a * count + b)[codes[a] != codes[b]]
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]  # each once, in the order they were drawn
        found = np.concatenate([found, drawn[~np.isin(drawn, found)][:missing]])
    return np.stack([found // max(count, 1), found % max(count, 1)], axis=1)
