"""Coordinates of embeddings in the plane: t-SNE by openTSNE, the same numbers for any number of cores."""

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import cast

import numpy as np

from fiqa_core.atlas.settings import AtlasError
from fiqa_core.extras import install_extra

# Fewer points have no neighbourhoods to show: they lie where their first two principal components put them.
LEAST_POINTS = 10
_EXACT_BELOW = 1000  # all pairs are compared; above, Annoy's trees look for neighbours
_BLOCK = 4096
_START_SPREAD = 1e-4  # of the first coordinates, as openTSNE's own start
_NOISE = 1e-6  # equal embeddings must not start in one place: nothing would ever part them


@dataclass(frozen=True)
class Layout:
    """xy: float32 (n, 2). method: `t-SNE` or `PCA`. perplexity: as it was used; None for PCA."""

    xy: np.ndarray
    method: str
    perplexity: float | None


def require_open_tsne() -> ModuleType:
    """The library that places points.

    Raises:
        AtlasError: it is not installed.
    """
    try:
        import openTSNE
    except ModuleNotFoundError as error:
        raise AtlasError(
            f"an atlas needs a package that is not here ({error.name}): {install_extra('atlas')}"
        ) from error
    return cast(ModuleType, openTSNE)


def place(vectors: np.ndarray, seed: int, perplexity: float) -> Layout:
    """Place vectors float32 (n, dim) of unit length; those that point the same way become neighbours.

    Everything runs in one thread: sums that are divided among cores have other last bits on a machine with more cores,
    and t-SNE makes another map of them.

    Raises:
        AtlasError: the library is not installed.
    """
    library = require_open_tsne()
    from threadpoolctl import threadpool_limits

    logging.getLogger("openTSNE").setLevel(logging.WARNING)  # it logs how it begins
    with threadpool_limits(1):
        components = _components(vectors)
        if len(vectors) < LEAST_POINTS:
            return Layout(components.astype(np.float32), "PCA", None)
        used = min(perplexity, (len(vectors) - 1) / 3)  # t-SNE looks at three times as many neighbours
        start = _start(components, seed)
        # On the unit sphere the Euclidean distance orders neighbours as the cosine does.
        fitted = library.TSNE(
            perplexity=used,
            initialization=start,
            metric="euclidean",
            neighbors="exact" if len(vectors) < _EXACT_BELOW else "annoy",
            n_jobs=1,
            random_state=seed,
        ).fit(vectors)
    xy = np.asarray(fitted, np.float32)
    if not np.isfinite(xy).all():
        raise AtlasError("t-SNE gave coordinates that are not finite. Try another --seed or --perplexity.")
    return Layout(xy, "t-SNE", round(float(used), 4))


def _components(vectors: np.ndarray) -> np.ndarray:
    """The first two principal components, float64 (n, 2); the largest number of each direction is positive."""
    if not len(vectors):
        return np.zeros((0, 2))
    mean = vectors.mean(axis=0, dtype=np.float64)
    dim = vectors.shape[1]
    blocks = range(0, len(vectors), _BLOCK)  # in 64 bits they take twice the memory
    scatter = np.zeros((dim, dim))
    for start in blocks:
        centred = vectors[start : start + _BLOCK] - mean
        scatter += centred.T @ centred
    _, directions = np.linalg.eigh(scatter)
    two = directions[:, ::-1][:, : min(2, dim)]
    two = two * np.where(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])] < 0, -1, 1)
    found = np.concatenate([(vectors[start : start + _BLOCK] - mean) @ two for start in blocks])
    return np.pad(found, ((0, 0), (0, 2 - two.shape[1])))


def _start(components: np.ndarray, seed: int) -> np.ndarray:
    spread = components[:, 0].std()
    scaled = components / spread * _START_SPREAD if spread > _NOISE else np.zeros_like(components)
    return np.asarray(scaled + np.random.RandomState(seed).normal(0, _NOISE, components.shape))
