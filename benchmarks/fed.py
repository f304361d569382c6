"""The command with a scoring process that answers at a set rate without computing, as a program of its own.

python -m benchmarks.fed RATE OPTIONS: images/s (`inf`: at once), and options of score_dataset.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores


class RateScorer(BatchScorer):
    """Quality 0, at most `rate` images/s: as from a device that computes one batch after the other."""

    batch_size = 256

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def begin_batch(self, batch: FaceBatch) -> Callable[[], Scores]:
        """Queue a batch behind those under way; what is returned waits until it would be done."""
        count = len(batch.pixels)
        self._free_at = done_at = max(self._free_at, time.monotonic()) + count / self._rate

        def wait() -> Scores:
            time.sleep(max(0.0, done_at - time.monotonic()))
            return Scores(np.zeros(count, np.float32), None)

        return wait

    def score_batch(self, batch: FaceBatch) -> Scores:
        """The same, waited for."""
        return self.begin_batch(batch)()


@dataclass(frozen=True)
class RateSource:
    """Makes a `RateScorer`."""

    rate: float

    def on(self, device: str) -> "RateSource":  # noqa: ARG002
        """The same: there is no device."""
        return self

    def load(self) -> RateScorer:
        """The scorer."""
        return RateScorer(self.rate)


if __name__ == "__main__":
    from benchmarks.fed import RateSource as Source  # not of `__main__`, which the scoring process does not have
    from pipelines.score_dataset import run

    code = run(["--scoring-process", "on", "--device", "cpu", *sys.argv[2:]], Source(float(sys.argv[1])))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"children_cpu_s {used.ru_utime + used.ru_stime:.2f}")
    sys.exit(code)
