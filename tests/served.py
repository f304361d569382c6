"""Sources for tests of the scoring process, and a way to find that process."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, Scores
from fiqa_core.scoring.service.source import ServedSource
from tests.fakes import MeanScorer


class PausingScorer(MeanScorer):
    """A `MeanScorer` that pauses at every batch, without using the CPU."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        time.sleep(self._seconds)
        return super().score_pixels(pixels)


@dataclass(frozen=True)
class PausingSource:
    """Makes a `PausingScorer`."""

    seconds: float

    def on(self, device: str) -> "PausingSource":
        return self

    def load(self) -> PausingScorer:
        return PausingScorer(self.seconds)


class _OfEmbedding(BatchScorer):
    batch_size = 4

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        return Scores(None, pixels[:, 0, :6, 0].astype(np.float32))


@dataclass(frozen=True)
class EmbeddingSource:
    """Embedding = the first six red values; no quality."""

    def on(self, device: str) -> "EmbeddingSource":
        return self

    def load(self) -> _OfEmbedding:
        return _OfEmbedding()


@dataclass(frozen=True)
class UnstableSource:
    """Is killed while it loads, each time."""

    def on(self, device: str) -> "UnstableSource":
        return self

    def load(self) -> _OfEmbedding:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class _Faulty(BatchScorer):
    batch_size = 4

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        if not pixels.any():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return Scores(np.ones(len(pixels), np.float32), None)


@dataclass(frozen=True)
class FaultySource:
    """A device that fails for good at a black picture."""

    def on(self, device: str) -> "FaultySource":
        return self

    def load(self) -> _Faulty:
        return _Faulty()


class _Failing(BatchScorer):
    batch_size = 4

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        if not pixels.any():
            raise ValueError("a black face")
        return Scores(np.ones(len(pixels), np.float32), None)


@dataclass(frozen=True)
class FailingSource:
    """Scores everything 1, and refuses black pictures."""

    def on(self, device: str) -> "FailingSource":
        return self

    def load(self) -> _Failing:
        return _Failing()


def processes_of(source: ServedSource) -> list[int]:
    """Process numbers of the scoring processes that hold the source's address on the CPU."""
    name = source._place("cpu").address[1:].decode()
    inodes = {
        f"socket:[{line.split()[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(f"@{name}")
    }
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target in inodes and b"fiqa_core.scoring.service" in Path(f"/proc/{link.parts[2]}/cmdline").read_bytes():
            found.add(int(link.parts[2]))
    return sorted(found)
