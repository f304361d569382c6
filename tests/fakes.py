"""A scorer that knows no faces: quality is the mean of the pixels. Picklable, so Beam can carry it."""

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
