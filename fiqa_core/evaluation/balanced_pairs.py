"""Pairs of labelled images: all mated pairs of a few images a person, and non-mated pairs, all or a sample."""

import itertools
from collections.abc import Sequence

import numpy as np

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.pairs import Pairs

MOST_NONMATED = 2_000_000


def balanced_pairs(
    names: Sequence[str], labels: Sequence[str], per_identity: int = 10, seed: int = 0, most: int = MOST_NONMATED
) -> Pairs:
    """Pairs of images by their labels; the same for the same images in any order.

    Args:
        names, labels: of each image. per_identity: at most so many images of one person, drawn by the seed: mated
            pairs grow with the square of a person's images, and one person would outweigh all others.
        most: non-mated pairs; where there are more, a sample of about so many without repetition.

    Raises:
        EvaluationError: no person has two images, or there is one person only.
    """
    random = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for name, label in sorted(zip(names, labels, strict=True)):
        groups.setdefault(label, []).append(name)
    for label, own in groups.items():
        if len(own) > per_identity:
            groups[label] = [own[place] for place in sorted(random.choice(len(own), per_identity, replace=False))]
    chosen = [name for own in groups.values() for name in own]
    person = np.repeat(np.arange(len(groups)), [len(own) for own in groups.values()])
    starts = np.cumsum([0, *(len(own) for own in groups.values())])
    mated = [
        pair
        for start, own in zip(starts, groups.values(), strict=False)
        for pair in itertools.combinations(range(start, start + len(own)), 2)
    ]
    if not mated or len(groups) < 2:
        raise EvaluationError(
            f"the labels give {len(mated):,} mated pairs of {len(groups):,} identities; calibration needs images of "
            "two people or more, and two images of one. Give a set with labels, or --pairs."
        )
    a, b = _nonmated(person, most, random)
    sides = np.array(mated, np.int32)
    return Pairs(
        chosen,
        np.concatenate([sides[:, 0], a]),
        np.concatenate([sides[:, 1], b]),
        np.arange(len(sides) + len(a)) < len(sides),
    )


def _nonmated(person: np.ndarray, most: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = len(person)
    if count * (count - 1) // 2 <= 2 * most:
        a, b = np.triu_indices(count, 1)
        places = np.flatnonzero(person[a] != person[b])
        if len(places) > most:
            places = np.sort(random.choice(places, most, replace=False))
        return a[places].astype(np.int32), b[places].astype(np.int32)
    a, b = (random.integers(0, count, most) for _ in range(2))
    a, b = np.minimum(a, b), np.maximum(a, b)
    numbers = np.unique((a * count + b)[person[a] != person[b]])
    return (numbers // count).astype(np.int32), (numbers % count).astype(np.int32)
