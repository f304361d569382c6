"""Several scorers as one: the threads of a process share out its GPUs."""

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer


class ScorerPool:
    """Gives each batch to a scorer that is idle; a call waits while all are busy.

    Args:
        scorers: one for each GPU, all of the same network and settings (which one scores a batch does not matter).
    """

    def __init__(self, scorers: Sequence[BatchScorer]) -> None:
        if not scorers:
            raise ValueError("a pool needs at least one scorer")
        self.scorers = tuple(scorers)
        self.batch_size = min(scorer.batch_size for scorer in scorers)
        self._idle: queue.SimpleQueue[BatchScorer] = queue.SimpleQueue()
        for scorer in scorers:
            self._idle.put(scorer)

    def score_pixels(self, pixels: np.ndarray) -> Any:
        """`Scores` of uint8 RGB (B, 112, 112, 3)."""
        scorer = self._idle.get()
        try:
            return scorer.score_pixels(pixels)
        finally:
            self._idle.put(scorer)
