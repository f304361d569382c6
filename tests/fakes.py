"""A scorer that knows no faces: quality is the mean of the pixels. Picklable, so Beam can carry it."""

import time
from dataclasses import dataclass

import numpy as np

from fiqa_core.scoring.scorer import Scores


class MeanScorer:
    """Quality = mean grey level / 255."""

    batch_size = 8

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (112, 112, 3)
        return Scores((pixels.mean(axis=(1, 2, 3)) / 255).astype(np.float32), None)


@dataclass(frozen=True)
class MeanScorerSource:
    """Makes a `MeanScorer` in the worker."""

    def load(self) -> MeanScorer:
        return MeanScorer()


class SlowMeanScorer(MeanScorer):
    """A `MeanScorer` that takes its time, so that a worker can be killed at work."""

    batch_size = 4

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        time.sleep(0.2)
        return super().score_pixels(pixels)


@dataclass(frozen=True)
class SlowMeanScorerSource:
    """Makes a `SlowMeanScorer` in the worker."""

    def load(self) -> SlowMeanScorer:
        return SlowMeanScorer()
