"""A scorer that knows no faces: quality is the mean of the pixels. Picklable, so Beam can carry it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiqa_core.devices import DeviceError
from fiqa_core.scoring.batch_scorer import BatchScorer, Scores


class MeanScorer(BatchScorer):
    """Quality = mean grey level / 255."""

    batch_size = 8

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (112, 112, 3)
        return Scores((pixels.mean(axis=(1, 2, 3)) / 255).astype(np.float32), None)


@dataclass(frozen=True)
class MeanScorerSource:
    """Makes a `MeanScorer` in the worker."""

    def on(self, device: str) -> "MeanScorerSource":
        return self

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

    def on(self, device: str) -> "SlowMeanScorerSource":
        return self

    def load(self) -> SlowMeanScorer:
        return SlowMeanScorer()


@dataclass(frozen=True)
class NoDeviceSource:
    """A worker without the device that was asked for."""

    def on(self, device: str) -> "NoDeviceSource":
        return self

    def load(self) -> MeanScorer:
        raise DeviceError("device 'cuda' was asked for, but this worker sees 0 GPUs")


@dataclass(frozen=True)
class KilledOnceSource:
    """Its first worker is killed while it scores; `marker` is how the next one knows."""

    marker: str

    def on(self, device: str) -> "KilledOnceSource":
        return self

    def load(self) -> MeanScorer:
        return KilledOnceScorer(Path(self.marker))


class KilledOnceScorer(MeanScorer):
    """Dies by kill -9 in its third batch, unless the marker says that this was done."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker
        self._batches = 0

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        self._batches += 1
        if self._batches == 3 and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score_pixels(pixels)


@dataclass(frozen=True)
class BrokenScorerSource:
    """A bug: an error in the worker that nobody foresaw."""

    def on(self, device: str) -> "BrokenScorerSource":
        return self

    def load(self) -> MeanScorer:
        raise KeyError("a bug")
