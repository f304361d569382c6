"""Verification by embeddings: area under the ROC curve and true accept rates, with resamples of the subjects."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fiqa_core.evaluation.balanced_pairs import balanced_pairs
from fiqa_core.evaluation.bootstrap import Resampling, subjects_of
from fiqa_core.evaluation.pairs import Pairs

FMRS = (1e-2, 1e-3)
MEASURES = ("auc", *(f"tar_{fmr:g}" for fmr in FMRS))
_SEED = 2026  # of pairs and resamples: the same for all trainings, so that differences are paired


class Measured(NamedTuple):
    """`values` float64 (3,), in the order of MEASURES, all in [0, 1], higher = better; `samples` (R, 3): the same in
    each resample of the subjects."""

    values: np.ndarray
    samples: np.ndarray


class Verification:
    """All genuine pairs of at most `per_identity` images a person, and a sample of the impostor pairs.

    Attributes:
        pairs: of the images in use. rows: int (I,), which of the labels' images these are.
    """

    def __init__(self, labels: Sequence[str], per_identity: int, impostors: int, replicates: int) -> None:
        """`per_identity` 0: all images of a person.

        Raises:
            EvaluationError: no person has two images, or there is one person only.
        """
        names = [f"{place:09d}" for place in range(len(labels))]
        most = per_identity or len(labels)
        self.pairs: Pairs = balanced_pairs(names, labels, most, _SEED, impostors)
        self.rows = np.array([int(name) for name in self.pairs.names])
        subjects = subjects_of(self.pairs, [labels[row] for row in self.rows.tolist()])
        self._resampling = Resampling(subjects, replicates, _SEED)

    def measure(self, embeddings: np.ndarray) -> Measured:
        """Of unit embeddings of the images in use, float32 (I, D)."""
        cosines = np.einsum("nd,nd->n", embeddings[self.pairs.a], embeddings[self.pairs.b])
        ranking = _Ranking(cosines, self.pairs.mated)
        samples = [ranking.measures(copies) for copies in self._resampling.copies(self.pairs)]
        whole = ranking.measures(np.ones(len(self.pairs), np.int32))
        return Measured(whole, np.array(samples).reshape(-1, len(MEASURES)))


class _Ranking:
    """Pairs sorted once by their cosines, measured many times with other counts of the pairs."""

    def __init__(self, cosines: np.ndarray, mated: np.ndarray) -> None:
        self._genuine, impostors = np.flatnonzero(mated), np.flatnonzero(~mated)
        self._impostors = impostors[np.argsort(cosines[impostors], kind="stable")]
        below, of_genuine = cosines[self._impostors], cosines[self._genuine]
        self._left = np.searchsorted(below, of_genuine, "left")
        self._right = np.searchsorted(below, of_genuine, "right")

    def measures(self, copies: np.ndarray) -> np.ndarray:
        """Float64 (3,); NaN where a resample has no pair of a kind."""
        genuine = copies[self._genuine].astype(np.float64)
        lower = np.concatenate([[0.0], np.cumsum(copies[self._impostors], dtype=np.float64)])
        all_genuine, all_impostors = genuine.sum(), lower[-1]
        if not all_genuine or not all_impostors:
            return np.full(len(MEASURES), np.nan)
        auc = (genuine * (lower[self._left] + lower[self._right])).sum() / (2 * all_genuine * all_impostors)
        # A genuine pair is accepted if at most this share of the impostor pairs is as near as it, or nearer.
        as_near = (all_impostors - lower[self._left]) / all_impostors
        return np.array([auc, *((genuine * (as_near <= fmr)).sum() / all_genuine for fmr in FMRS)])
