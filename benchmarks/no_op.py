"""The command with the network replaced by nothing, as a program of its own (so that its memory is its own)."""

import resource
import sys
from dataclasses import dataclass

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, Scores
from pipelines.score_dataset import run


class NoOpScorer(BatchScorer):
    """Quality 0 for every image."""

    batch_size = 64

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Zeros, float32 (B,)."""
        return Scores(np.zeros(len(pixels), np.float32), None)


@dataclass(frozen=True)
class NoOpScorerSource:
    """Makes a `NoOpScorer` in the worker."""

    def load(self) -> NoOpScorer:
        """The scorer."""
        return NoOpScorer()


if __name__ == "__main__":
    code = run(sys.argv[1:], NoOpScorerSource())
    peaks = [resource.getrusage(who).ru_maxrss >> 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"peak_mib {peaks[0]} largest_child_mib {peaks[1]}")
    sys.exit(code)
