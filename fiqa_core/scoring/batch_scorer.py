"""What scoring needs of a scorer, and what a scorer gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Scores(NamedTuple):
    """`quality` float32 (B,), higher = more useful, or None from a network without quality head; `embedding`
    float32 (B, D), or None if not asked for.
    """

    quality: np.ndarray | None
    embedding: np.ndarray | None


class BatchScorer(Protocol):
    """What scoring needs of a scorer; one with a method `score_stored` is given int64 (B,) stored bytes instead.

    One that computes elsewhere may have a method `submit`, which does not wait (`service.client.Session`).
    """

    batch_size: int

    def score_pixels(self, pixels: np.ndarray) -> Any:
        """`Scores` of uint8 RGB (B, 112, 112, 3), which are overwritten once this returns."""


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of several batches as those of one."""
    if not parts:
        return Scores(np.empty(0, np.float32), None)
    qualities = [part.quality for part in parts if part.quality is not None]
    vectors = [part.embedding for part in parts if part.embedding is not None]
    return Scores(np.concatenate(qualities) if qualities else None, np.concatenate(vectors) if vectors else None)
