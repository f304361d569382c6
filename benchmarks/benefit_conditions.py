"""Conditions of `benchmarks.benefit`: which faces a training gets, under which labels, with which weights.

Flips (a share of the labels is another identity's):

    as_is       all faces, flipped labels and all
    product     what filter_dataset keeps with --drop-wrong-labels
    corrected   labels that the product judges wrong become the nearest identity's where that is sure (--review)
    oracle      exactly the flipped faces are dropped
    random      as many faces as `product` drops, at random

Quality (all labels as they are in the dataset; a share of the faces is cut):

    worst       --drop-worst SHARE
    random      as many faces at random
    best        as many faces of best quality dropped
    protected   --drop-worst SHARE --protect-recognised
    weighted    --drop-worst SHARE --quality-action weight: kept with a tenth of the weight
    threshold   --min-quality T, whatever share that is
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.benefit_cleaning import Product
from benchmarks.benefit_faces import Faces
from benchmarks.planted_faces import swapped

FLIPS = ("as_is", "product", "oracle", "random", "corrected")
QUALITY = ("worst", "random", "best", "protected", "weighted", "threshold")  # the last has no share


class Job(NamedTuple):
    """One training. `kind`: `flips` or `quality`; `share` of the labels flipped, or of the faces cut (0: a threshold,
    or nothing)."""

    kind: str
    share: float
    condition: str
    seed: int

    @property
    def name(self) -> str:
        """As file name."""
        return f"{self.kind}-{self.share:g}-{self.condition}-{self.seed}"

    @property
    def needs_embeddings(self) -> bool:
        """Whether a recogniser decides about the faces, or about how many there are."""
        cleaned = self.kind == "flips" and self.condition in ("product", "corrected", "random")
        return cleaned or self.condition == "protected"


class Cut(NamedTuple):
    """What a training gets: `rows` int (M,), their `labels` text (M,), and `weights` float32 (M,) or None (all 1)."""

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None


def jobs(
    flips: Sequence[float],
    shares: Sequence[float],
    seeds: Sequence[int],
    conditions: Sequence[str],
    threshold: float | None,
) -> Iterator[Job]:
    """All trainings, seed by seed, flips before cuts. `as_is`, which the others are
    compared with, is always among them."""
    wanted = {"as_is", *conditions}
    for seed in seeds:
        yield Job("flips", 0.0, "as_is", seed)
        for share in flips:
            yield from (Job("flips", share, condition, seed) for condition in FLIPS if condition in wanted)
    for seed in seeds:
        for share in shares:
            yield from (Job("quality", share, name, seed) for name in QUALITY[:-1] if name in wanted)
        if QUALITY[-1] in wanted and threshold is not None:
            yield Job("quality", 0.0, QUALITY[-1], seed)


def planted(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Labels of which exactly this share (rounded to whole rows) is another identity's, drawn at random."""
    return np.array(swapped(labels.tolist(), share, np.random.default_rng([seed, 1])))


def flips_cut(job: Job, faces: Faces, product: Product) -> Cut:
    """The faces of a training on flipped labels."""
    labels = planted(faces.labels, job.share, job.seed)
    every, name = np.arange(len(faces)), f"flips-{job.share:g}-{job.seed}"
    if job.condition == "as_is":
        return Cut(every, labels)
    if job.condition == "oracle":
        right = np.flatnonzero(labels == faces.labels)
        return Cut(right, labels[right])
    decided = product.cleaned(labels, f"{name}-product")
    if job.condition == "random":
        kept = kept_at_random(len(faces), int((~decided["keep"]).sum()), job.seed)
        return Cut(kept, labels[kept])
    if job.condition == "corrected":
        decided = product.corrected(labels, f"{name}-corrected", decided)
    return kept_by(decided)


def quality_cut(job: Job, faces: Faces, product: Product, threshold: float | None) -> Cut:
    """The faces of a training on a part of the dataset."""
    worst = ("--drop-worst", f"{job.share:g}")
    if job.condition in ("worst", "random", "best"):
        decided = product.cut(f"quality-{job.share:g}-worst", worst)
        dropped = int((~decided["keep"]).sum())
        if job.condition == "random":
            kept = kept_at_random(len(faces), dropped, job.seed)
            return Cut(kept, faces.labels[kept])
        if job.condition == "best":
            kept = np.sort(np.argsort(-faces.quality, kind="stable")[dropped:])
            return Cut(kept, faces.labels[kept])
        return kept_by(decided)
    options = {
        "protected": (*worst, "--protect-recognised"),
        "weighted": (*worst, "--quality-action", "weight"),
        "threshold": (f"--min-quality={threshold}",),
    }[job.condition]
    return kept_by(product.cut(f"quality-{job.share:g}-{job.condition}", options))


def kept_at_random(images: int, dropped: int, seed: int) -> np.ndarray:
    """Places that stay, in order, when so many are dropped at random."""
    return np.sort(np.random.default_rng([seed, 2]).permutation(images)[dropped:])


def kept_by(decided: pd.DataFrame) -> Cut:
    """The kept rows of decisions, under the labels that the decisions have."""
    kept = np.flatnonzero(decided["keep"].to_numpy(bool))
    weights = decided["weight"].to_numpy(np.float32)[kept]
    return Cut(kept, decided["label"].to_numpy(str)[kept], None if (weights == 1).all() else weights)
