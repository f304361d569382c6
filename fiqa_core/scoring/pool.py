"""Several scorers used as one: the threads of a process share its GPUs."""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores


class ScorerPool(BatchScorer):
    """Gives each batch to a scorer that is idle; a call waits while all are busy.

    Args:
        scorers: one for each GPU, all with the same network and settings, so any of them can score a batch.
    """

    def __init__(self, scorers: Sequence[BatchScorer]) -> None:
        if not scorers:
            raise ValueError("a pool needs at least one scorer")
        self.scorers = tuple(scorers)
        self.batch_size = min(scorer.batch_size for scorer in scorers)
        self._idle: queue.SimpleQueue[BatchScorer] = queue.SimpleQueue()
        for scorer in scorers:
            self._idle.put(scorer)

    def score_batch(self, batch: FaceBatch) -> Scores:
        """As of an idle scorer."""
        with self._idle_scorer() as scorer:
            return scorer.score_batch(batch)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """As of an idle scorer."""
        with self._idle_scorer() as scorer:
            return scorer.score_pixels(pixels)

    @contextmanager
    def _idle_scorer(self) -> Iterator[BatchScorer]:
        scorer = self._idle.get()
        try:
            yield scorer
        finally:
            self._idle.put(scorer)
