"""Pairs of images with their dissimilarities, sorted once so that every curve is a pass over sorted arrays."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fiqa_core.evaluation.errors import EvaluationError

SCORES = ("arccos", "euclidean")
_PAIRS_AT_ONCE = 8192
_THREADS = 2


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of one dataset by one face recognition model.

    Attributes:
        mated: bool (N,), whether both images show the same person, in the pair list's order.
        mated_places, nonmated_places: int32, places of such pairs in that order, by ascending dissimilarity.
        mated_values, nonmated_values: float64, their dissimilarities, ascending (lower = more alike).
    """

    mated: np.ndarray
    mated_places: np.ndarray
    nonmated_places: np.ndarray
    mated_values: np.ndarray
    nonmated_values: np.ndarray

    @classmethod
    def of(cls, dissimilarity: np.ndarray, mated: np.ndarray) -> "Comparisons":
        """Sort them.

        Args:
            dissimilarity: float64 (N,), finite; lower = more alike. mated: bool (N,).

        Raises:
            EvaluationError: no mated or no non-mated pair, or a dissimilarity that is not a number.
        """
        mated = np.asarray(mated, bool)
        if not np.isfinite(dissimilarity).all():
            place = int(np.flatnonzero(~np.isfinite(dissimilarity))[0])
            raise EvaluationError(
                f"pair {place + 1}: its dissimilarity is {dissimilarity[place]}: one of its embeddings is zero or not "
                "finite. Leave the pair out, or embed the image again."
            )
        sides = {}
        for kind, which in (("mated", mated), ("non-mated", ~mated)):
            places = np.flatnonzero(which).astype(np.int32)
            if not len(places):
                raise EvaluationError(f"the pair list has no {kind} pair; an EDC needs both kinds")
            values = dissimilarity[places]
            ascending = np.argsort(values, kind="stable")
            sides[kind] = places[ascending], values[ascending]
        return cls(mated, sides["mated"][0], sides["non-mated"][0], sides["mated"][1], sides["non-mated"][1])


def dissimilarities(embeddings: np.ndarray, a: np.ndarray, b: np.ndarray, score: str = "arccos") -> np.ndarray:
    """Dissimilarity of each pair, float64 (N,); lower = more alike.

    Computed in double precision a few thousand pairs at a time, so that memory does not grow with the pairs.

    Args:
        embeddings: floats (I, D), not necessarily normalised (a flip-augmented one is just longer).
        a, b: int (N,), rows of `embeddings`.
        score: `arccos` (angle / pi, in [0, 1]) or `euclidean` (squared distance of the L2-normalised, in [0, 4]).
    """
    if score not in SCORES:
        raise EvaluationError(f"score {score!r} is not known; expected one of {', '.join(SCORES)}")
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    found = np.empty(len(a), np.float64)
    compare = _angles if score == "arccos" else _squared_distances

    def fill(start: int) -> None:
        part = slice(start, start + _PAIRS_AT_ONCE)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[part] = compare(embeddings, norms, a[part], b[part])

    with ThreadPoolExecutor(_THREADS, "compare") as pool:
        for _ in pool.map(fill, range(0, len(a), _PAIRS_AT_ONCE)):
            pass
    return found


_Compare = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _angles(embeddings: np.ndarray, norms: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    dots = np.einsum("ij,ij->i", embeddings[a], embeddings[b], dtype=np.float64)
    cosines: np.ndarray = np.clip(dots / (norms[a] * norms[b]), -1.0, 1.0)
    return np.asarray(np.arccos(cosines) / np.pi)


def _squared_distances(embeddings: np.ndarray, norms: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = embeddings[a] / norms[a][:, None] - embeddings[b] / norms[b][:, None]
    return np.asarray(np.einsum("ij,ij->i", difference, difference))
