"""The interface between scoring and a scorer: a batch of images in, scores out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np


class FaceBatch(NamedTuple):
    """Images to score together: `pixels` uint8 RGB (B, 112, 112, 3), which are overwritten once they are scored;
    `stored` int64 (B,), bytes of each image as it was stored.
    """

    pixels: np.ndarray
    stored: np.ndarray


class Scores(NamedTuple):
    """`quality` float32 (B,), higher = more useful, or None from a network without quality head; `embedding`
    float32 (B, D), or None if not asked for.
    """

    quality: np.ndarray | None
    embedding: np.ndarray | None


class BatchScorer:
    """A scorer of batches. One that looks at pixels only has `score_pixels`; any other its own `score_batch`.

    Attributes:
        batch_size: images a batch.
        reads_later: whether `begin_batch` returns while the device still copies the pixels (so that memory which the
            device can reach helps).
        computes_elsewhere: whether `begin_batch` hands the batch to another process, so that a thread gains by using
            several sessions in turn.
        pixels: uint8 (batch_size, 112, 112, 3) that batches are best gathered in; None: anywhere.
    """

    batch_size: int
    reads_later = False
    computes_elsewhere = False
    pixels: np.ndarray | None = None

    def score_batch(self, batch: FaceBatch) -> Scores:
        """The scores of a batch."""
        return self.score_pixels(batch.pixels)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """The scores of uint8 RGB (B, 112, 112, 3).

        Raises:
            TypeError: this scorer needs more than pixels.
        """
        raise TypeError(f"{type(self).__name__} does not score {len(pixels)} images by their pixels alone")

    def begin_batch(self, batch: FaceBatch) -> Callable[[], Scores]:
        """Begin to score a batch; what is returned waits for the scores. For one thread."""
        scores = self.score_batch(batch)
        return lambda: scores

    def session(self) -> AbstractContextManager["BatchScorer"]:
        """A scorer for the use of one thread, for as long as the context lasts."""
        return nullcontext(self)


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of several batches as those of one."""
    if not parts:
        return Scores(np.empty(0, np.float32), None)
    qualities = [part.quality for part in parts if part.quality is not None]
    vectors = [part.embedding for part in parts if part.embedding is not None]
    return Scores(np.concatenate(qualities) if qualities else None, np.concatenate(vectors) if vectors else None)
