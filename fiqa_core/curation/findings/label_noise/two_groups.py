"""Whether the images of one identity fall into two groups."""

from typing import NamedTuple

import numpy as np

_ITERATIONS = 10
_MOST = 4096


class Groups(NamedTuple):
    """Two groups of an identity's pictures.

    minority bool (n,): the smaller group (if equal, the one without the first picture). cosine: between the
    groups' centres. coherence: the smaller of the groups' median cosines to their centres, own vote left out.
    sizes: pictures in the larger and in the smaller group.
    """

    minority: np.ndarray
    cosine: float
    coherence: float
    sizes: tuple[int, int]

    @property
    def is_clear(self) -> bool:
        """Whether the identity is two people: the groups are far apart compared with their own coherence."""
        return self.cosine < 0.5 * self.coherence


def two_groups(x: np.ndarray, cosine: np.ndarray) -> Groups | None:
    """Spherical 2-means, started from the picture farthest from the centre and the one least similar to that.

    Args:
        x: float32 (n, d), unit length. cosine: of each row to the centre of all.

    Returns:
        None if a group would have fewer than two pictures.
    """
    step = -(-len(x) // _MOST)
    part = x[::step]
    first = int(np.argmin(np.nan_to_num(cosine[::step])))
    centres = np.stack([part[first], part[int(np.argmin(part @ part[first]))]])
    second = np.zeros(len(part), bool)
    for _ in range(_ITERATIONS):
        products = part @ centres.T
        again = products[:, 1] > products[:, 0]
        if not 0 < again.sum() < len(part):
            return None
        centres = np.stack([_unit(part[~again].sum(axis=0)), _unit(part[again].sum(axis=0))])
        if (again == second).all():
            break
        second = again
    products = x @ centres.T
    second = products[:, 1] > products[:, 0]
    size = int(second.sum())
    if min(size, len(x) - size) < 2:
        return None
    is_second_smaller = size * 2 < len(x) or (size * 2 == len(x) and not second[0])
    minority = second if is_second_smaller else ~second
    coherence = min(_coherence(x[minority]), _coherence(x[~minority]))
    small = int(minority.sum())
    return Groups(minority, float(centres[0] @ centres[1]), coherence, (len(x) - small, small))


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.sqrt(vector @ vector)), 1e-12))


def _coherence(x: np.ndarray) -> float:
    rest = x.sum(axis=0) - x
    length = np.sqrt(np.einsum("ij,ij->i", rest, rest))
    return float(np.median(np.einsum("ij,ij->i", x, rest) / np.maximum(length, 1e-12)))
