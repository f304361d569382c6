"""The robust centre of each identity, and how far each image is from the centre of the others."""

from typing import NamedTuple

import numpy as np

from fiqa_core.curation.findings.label_noise.two_groups import Groups, two_groups
from fiqa_core.curation.findings.similarity import as_float

_ITERATIONS = 6
# An image whose cosine is less than this share of its identity's median has no vote.
_TRIM = 0.5
# If the images of an identity are on average nearer to each other than this, no second group is searched for; the
# labels are judged anyway. Pairs of one person: 0.6 to 0.75 with the networks that were measured.
_MIXED_BELOW = 0.55


class Centres(NamedTuple):
    """Result for a block of identities.

    cosine float32 (n,): of each row to the centre of its identity without its own vote (and without rows of the same
    bytes); NaN if there is no other vote. centre float32 (k, d), unit length. votes int64 (k,): distinct pictures.
    kept bool (n,): whether the row's picture has a vote at the end. groups: identities that fall into two groups.
    genuine float32 (n,): mean cosine of each row to the voting pictures of its identity, its own left out; NaN if
    there is no other vote.
    """

    cosine: np.ndarray
    centre: np.ndarray
    votes: np.ndarray
    kept: np.ndarray
    groups: dict[int, Groups]
    genuine: np.ndarray


def robust_centres(vectors: np.ndarray, segment: np.ndarray, picture: np.ndarray) -> Centres:
    """Centres as trimmed means, repeated until they settle.

    Args:
        vectors: float16 or float32 (n, d), unit length, rows of an identity together.
        segment: int64 (n,), the identity, 0..k-1, ascending without gaps. picture: int64 (n,): equal = the same bytes.
    """
    x = as_float(vectors).numpy()
    leader = leaders(segment, picture)
    votes = leader == np.arange(len(leader))
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    voters = np.add.reduceat(votes.astype(np.int64), starts)
    weight = votes.astype(np.float32)
    total = _totals(x, weight, starts)
    mixed = _mean_pair(total, voters) < _MIXED_BELOW
    cosine = _leave_one_out(x, total, segment, weight[leader])
    for _ in range(_ITERATIONS):
        median = _medians(cosine, segment, votes, starts, voters)[segment]
        again = votes & ~(cosine < np.minimum(_TRIM * median, median))
        if (again == (weight > 0)).all():
            break
        weight = again.astype(np.float32)
        total = _totals(x, weight, starts)
        cosine = _leave_one_out(x, total, segment, weight[leader])
    trimmed = np.add.reduceat((votes & (weight == 0)).astype(np.int64), starts)
    groups = _groups(x, votes, cosine, starts, np.flatnonzero((voters >= 4) & (mixed | (trimmed >= 2))))
    if any(found.is_clear for found in groups.values()):
        for number, found in groups.items():
            if found.is_clear:
                weight[starts[number] : starts[number] + len(found.minority)] *= ~found.minority
        total = _totals(x, weight, starts)
        cosine = _leave_one_out(x, total, segment, weight[leader])
    length = np.sqrt(np.einsum("ij,ij->i", total, total))[:, None]
    centre = np.divide(total, length, out=np.zeros_like(total), where=length > 1e-6)
    spread = {
        number: found._replace(minority=_of_all(found.minority, leader, starts, number))
        for number, found in groups.items()
    }
    genuine = _mean_of_others(x, total, segment, weight, starts, leader)
    return Centres(cosine, centre, voters, weight[leader] > 0, spread, genuine)


def leaders(segment: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The first row of the same identity with the same bytes."""
    order = np.lexsort((picture, segment))
    new = np.ones(len(order), bool)
    new[1:] = (segment[order[1:]] != segment[order[:-1]]) | (picture[order[1:]] != picture[order[:-1]])
    leader = np.empty(len(order), np.int64)
    leader[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return leader


def _totals(x: np.ndarray, weight: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(x * weight[:, None], starts, axis=0)


def _mean_pair(total: np.ndarray, voters: np.ndarray) -> np.ndarray:
    pairs = np.maximum(voters * (voters - 1), 1)
    return np.asarray((np.einsum("ij,ij->i", total, total) - voters) / pairs)


def _leave_one_out(x: np.ndarray, total: np.ndarray, segment: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cosine of each row to the sum of the other votes, computed without making that sum."""
    across = np.einsum("ij,ij->i", x, total[segment])
    length = np.einsum("ij,ij->i", x, x)
    square = np.einsum("ij,ij->i", total, total)[segment]
    rest = square - 2 * weight * across + weight * length
    # Below this only rounding is left: the row was the only vote.
    alone = rest < 1e-3
    cosine = (across - weight * length) / np.sqrt(np.where(alone, 1, rest) * length)
    return np.where(alone, np.nan, np.clip(cosine, -1, 1)).astype(np.float32)


def _mean_of_others(
    x: np.ndarray, total: np.ndarray, segment: np.ndarray, weight: np.ndarray, starts: np.ndarray, leader: np.ndarray
) -> np.ndarray:
    """Mean cosine of each row to the other votes of its identity; NaN if there is none."""
    own = weight[leader]
    length = np.einsum("ij,ij->i", x, x)
    across = np.einsum("ij,ij->i", x, total[segment]) - own * length
    others = np.add.reduceat(weight, starts)[segment] - own
    mean = across / (np.maximum(others, 1) * np.sqrt(length))
    return np.where(others > 0, np.clip(mean, -1, 1), np.nan).astype(np.float32)


def _medians(
    cosine: np.ndarray, segment: np.ndarray, votes: np.ndarray, starts: np.ndarray, voters: np.ndarray
) -> np.ndarray:
    """Lower median of the voters' cosines in each identity; NaN if there is only one."""
    order = np.lexsort((np.where(votes, cosine, np.inf), segment))
    return np.asarray(cosine[order[starts + (voters - 1) // 2]])


def _groups(
    x: np.ndarray, votes: np.ndarray, cosine: np.ndarray, starts: np.ndarray, numbers: np.ndarray
) -> dict[int, Groups]:
    ends = np.append(starts[1:], len(x))
    found: dict[int, Groups] = {}
    for number in numbers.tolist():
        rows = np.arange(starts[number], ends[number])
        voting = rows[votes[rows]]
        groups = two_groups(x[voting], cosine[voting])
        if groups is not None:
            minority = np.zeros(len(rows), bool)
            minority[voting - starts[number]] = groups.minority
            found[number] = groups._replace(minority=minority)
    return found


def _of_all(minority: np.ndarray, leader: np.ndarray, starts: np.ndarray, number: int) -> np.ndarray:
    """Adds rows without a vote: they have the group of the row with the same bytes."""
    start = int(starts[number])
    return np.asarray(minority[leader[start : start + len(minority)] - start])
