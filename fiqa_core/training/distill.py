"""Targets from a teacher: its embeddings, and the certainty ratio that its class centres give.

A class centre is the mean of the teacher's unit embeddings of the identity's clean images. CCS of an image (or of a
degraded copy of it) is its cosine to its identity's centre *without the image itself*: including it would make every
clean image of a small identity look good. NNCCS is the largest cosine to a centre of another identity.

If an identity has only one image, that image's clean embedding is the centre, and the clean image's CCS would be 1
whatever it shows. With `natural` such a CCS is scaled by the value that the image is expected to reach against *other*
images of its identity. This is predicted by a linear regression, fitted on identities of several images, from the norm
of the embedding, the largest cosine to a centre of another identity, and the mean cosine of degraded copies to the
clean embedding.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.losses import EPS
from fiqa_core.training.pool import Pool

_ROWS_AT_ONCE = 4096
_RIDGE = 1e-3


@dataclass(frozen=True)
class Targets:
    """What a small network learns, one row for each row of the pool.

    Attributes:
        embeddings: float32 (M, E), unit length. classes: int64 (M,). certainty: float32 (M,), the certainty ratio.
        clean: bool (M,), the row is the image as stored. class_count: number of identities.
    """

    embeddings: np.ndarray
    classes: np.ndarray
    certainty: np.ndarray
    clean: np.ndarray
    class_count: int


def targets_of(pool: Pool, natural: bool) -> Targets:
    """Targets of every row of a pool. Raises TrainingError if there are fewer than two identities."""
    norms = np.linalg.norm(pool.embeddings, axis=1)
    unit = (pool.embeddings / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
    classes = pc.dictionary_encode(pool.rows["label"]).combine_chunks().indices.to_numpy().astype(np.int64)
    copies = pool.rows["copy"].to_numpy()
    clean = copies == 0
    count = int(classes.max()) + 1
    if count < 2:
        raise TrainingError("one identity only: a certainty ratio needs at least two")
    image = np.cumsum(clean) - 1  # the copies of a face follow its clean image
    own, images = unit[clean], classes[clean]
    sums = np.zeros((count, unit.shape[1]), np.float32)
    np.add.at(sums, images, own)
    numbers = np.bincount(images, minlength=count)
    centres = sums / np.maximum(np.linalg.norm(sums, axis=1), 1e-12)[:, None]
    alone = numbers[images] == 1
    others = np.where(alone[:, None], own, sums[images] - own)
    others /= np.maximum(np.linalg.norm(others, axis=1), 1e-12)[:, None]
    ccs = np.einsum("ij,ij->i", unit, others[image])
    nnccs = _nearest_foreign(unit, classes, centres)
    if natural and alone.any() and not alone.all():
        kept = np.einsum("ij,ij->i", unit, own[image])
        worth = _natural_worth(norms[clean], nnccs[clean], _mean_by(image, kept, clean), ccs[clean], alone)
        ccs = np.where(alone[image], ccs * worth[image], ccs)
    certainty = (ccs / (nnccs + 1 + EPS)).astype(np.float32)
    return Targets(unit, classes, certainty, clean, count)


def _nearest_foreign(unit: np.ndarray, classes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    found = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        cosines = unit[start : start + _ROWS_AT_ONCE] @ centres.T
        cosines[np.arange(len(cosines)), classes[start : start + _ROWS_AT_ONCE]] = -1
        found[start : start + _ROWS_AT_ONCE] = cosines.max(1)
    return found


def _mean_by(image: np.ndarray, values: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mean of the values of each image's degraded copies; 1 if an image has none."""
    count = int(image.max()) + 1
    copies = np.bincount(image[~clean], minlength=count)
    means = np.bincount(image[~clean], values[~clean], minlength=count) / np.maximum(copies, 1)
    return np.where(copies > 0, means, 1.0)


def _natural_worth(
    norm: np.ndarray, nnccs: np.ndarray, kept: np.ndarray, ccs: np.ndarray, alone: np.ndarray
) -> np.ndarray:
    """Expected cosine of a clean image to other images of its identity, by ridge regression, float64 (images,)."""
    features = np.stack([norm, nnccs, kept], 1).astype(np.float64)
    known = ~alone
    features = (features - features[known].mean(0)) / np.maximum(features[known].std(0), 1e-9)
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    x, y = features[known], ccs[known].astype(np.float64)
    weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    low, high = np.quantile(y, (0.01, 0.99))
    return np.clip(features @ weights, low, high)
