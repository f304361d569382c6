"""Targets from teachers: the first one's embeddings, and the certainty ratio that class centres give.

A class centre is the mean of the teacher's unit embeddings of the identity's clean images. CCS of an image (or of a
degraded copy of it) is its cosine to its identity's centre *without the image itself*: including it would make every
clean image of a small identity look good. NNCCS is the largest cosine to a centre of another identity.

If an identity has only one image, that image's clean embedding is the centre, and the clean image's CCS would be 1
whatever it shows. With `natural` such a CCS is scaled by the value that the image is expected to reach against *other*
images of its identity. This is predicted by a linear regression, fitted on identities of several images, from the norm
of the embedding, the largest cosine to a centre of another identity, and the mean cosine of degraded copies to the
clean embedding.

`shrink` brings the CCS of all other clean images towards the same prediction: a centre of one or two images says little
about an image, and its norm much. A second teacher has its own CCS and prediction of the clean images; the certainty
ratios of both are averaged, on the first one's scale, and copies change in proportion to their clean image.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.losses import EPS
from fiqa_core.training.pool import Pool

_ROWS_AT_ONCE = 4096
_RIDGE = 1e-3
_MOST_RATIO = 2.0  # a ratio to a CCS near 0 says nothing


@dataclass(frozen=True)
class Targets:
    """What a small network learns, one row for each row of the pool.

    Attributes:
        embeddings: float32 (M, E), unit length. classes: int64 (M,). certainty: float32 (M,), the certainty ratio.
        clean: bool (M,), the row is the image as stored. class_count: number of identities.
        natural: bool (M,), the row is not degraded: the clean image, or one that was only moved.
    """

    embeddings: np.ndarray
    classes: np.ndarray
    certainty: np.ndarray
    clean: np.ndarray
    class_count: int
    natural: np.ndarray


@dataclass(frozen=True)
class _Clean:
    """What one teacher says about the clean images, one row for each."""

    unit: np.ndarray
    norms: np.ndarray
    others: np.ndarray
    centres: np.ndarray
    ccs: np.ndarray
    nnccs: np.ndarray


def targets_of(pool: Pool, natural: bool, shrink: float = 0.0) -> Targets:
    """Targets of every row of a pool; `natural` and `shrink` (0 to 1) as above.

    Raises:
        TrainingError: fewer than two identities.
    """
    classes = pc.dictionary_encode(pool.rows["label"]).combine_chunks().indices.to_numpy().astype(np.int64)
    clean = pool.rows["copy"].to_numpy() == 0
    count = int(classes.max()) + 1
    if count < 2:
        raise TrainingError("one identity only: a certainty ratio needs at least two")
    image = np.cumsum(clean) - 1  # the copies of a face follow its clean image
    images = classes[clean]
    alone = np.bincount(images, minlength=count)[images] == 1
    unit = _unit(pool.embeddings)
    first = _clean(pool.embeddings[clean], images, count, alone)
    ccs = np.einsum("ij,ij->i", unit, first.others[image])
    nnccs = _nearest_foreign(unit, classes, first.centres)
    ratio = np.ones(len(images))  # of a face's certainty ratio to what its first CCS gives
    if natural and alone.any() and not alone.all():
        kept = _mean_by(image, np.einsum("ij,ij->i", unit, first.unit[image]), clean)
        teachers = [first]
        if pool.second is not None:
            teachers.append(_clean(pool.second, images, count, alone))
        features = np.stack([feature for one in teachers for feature in (one.norms, one.nnccs)] + [kept], 1)
        worth = [_worth(one, features, alone, shrink) for one in teachers]
        own = worth[0] / (first.nnccs + 1 + EPS)
        ratio = _ratio(worth[0], first.ccs)
        if len(teachers) > 1:
            others = worth[1] / (teachers[1].nnccs + 1 + EPS)
            others = (others - others.mean()) / max(others.std(), EPS) * own.std() + own.mean()
            ratio *= _ratio((own + others) / 2, own)
    certainty = (ccs * ratio[image] / (nnccs + 1 + EPS)).astype(np.float32)
    is_natural = pc.equal(pc.list_value_length(pool.rows["kinds"]), 0).to_numpy(zero_copy_only=False)
    return Targets(unit, classes, certainty, clean, count, np.asarray(is_natural, np.bool_))


def _ratio(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """new / old, between 1/2 and 2; 1 where either is not above 0."""
    usable = (new > 0) & (old > 0)
    ratio = np.divide(new, old, out=np.ones(len(new)), where=usable)
    return np.asarray(np.clip(ratio, 1 / _MOST_RATIO, _MOST_RATIO))


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray((vectors / np.maximum(norms, 1e-12)).astype(np.float32))


def _clean(embeddings: np.ndarray, classes: np.ndarray, count: int, alone: np.ndarray) -> _Clean:
    unit = _unit(embeddings)
    sums = np.zeros((count, unit.shape[1]), np.float32)
    np.add.at(sums, classes, unit)
    centres = _unit(sums)
    others = _unit(np.where(alone[:, None], unit, sums[classes] - unit))
    ccs = np.einsum("ij,ij->i", unit, others)
    norms = np.linalg.norm(embeddings, axis=1)
    return _Clean(unit, norms, others, centres, ccs, _nearest_foreign(unit, classes, centres))


def _worth(teacher: _Clean, features: np.ndarray, alone: np.ndarray, shrink: float) -> np.ndarray:
    """The CCS that a clean image is expected to reach against other images of its identity, float64 (images,)."""
    predicted = _predicted(features.astype(np.float64), teacher.ccs, alone)
    return np.where(alone, predicted, (1 - shrink) * teacher.ccs + shrink * predicted)


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


def _predicted(features: np.ndarray, ccs: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Expected cosine of a clean image to other images of its identity, by ridge regression, float64 (images,)."""
    known = ~alone
    features = (features - features[known].mean(0)) / np.maximum(features[known].std(0), 1e-9)
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    x, y = features[known], ccs[known].astype(np.float64)
    weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    low, high = np.quantile(y, (0.01, 0.99))
    return np.asarray(np.clip(features @ weights, low, high))
