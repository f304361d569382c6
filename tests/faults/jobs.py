"""What the forked commands do; every function takes plain values and returns an exit code."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.score_dataset import run
from tests.fakes import KilledOnceSource, MeanScorer, MeanScorerSource
from tests.served import PausingScorer, PausingSource

SETTINGS = ScoreSettings("none", "none", "0" * 64)


@dataclass(frozen=True)
class HidingSource:
    """Takes a shard away after it was planned, before it is read."""

    shard: str
    hidden: str

    def load(self) -> MeanScorer:
        Path(self.shard).rename(self.hidden)
        return MeanScorer()


def score(arguments: list[str]) -> int:
    """The command."""
    return run(arguments, MeanScorerSource())


def score_slowly(seconds: float, arguments: list[str]) -> int:
    """The command, with a pause at every batch."""
    return run(arguments, PausingSource(seconds))


def score_served(seconds: float, arguments: list[str]) -> int:
    """The command with a scoring process, and a pause at every batch."""
    return run([*arguments, "--scoring-process", "on", "--device", "cpu"], PausingSource(seconds))


def score_and_lose(shard: str, hidden: str, arguments: list[str]) -> int:
    """The command; a shard disappears in mid-run."""
    return run(arguments, HidingSource(shard, hidden))


def score_and_be_killed(marker: str, arguments: list[str]) -> int:
    """The command; one of its workers is killed."""
    return run(arguments, KilledOnceSource(marker))


def score_one_unit(shard: str, output: str, go: str) -> int:
    """One unit, as a worker does it, once the file `go` is there."""
    (unit,) = plan_dataset([shard], "auto", 1000, output).units
    scorer = PausingScorer(0.01)
    Path(f"{go}-{time.monotonic_ns()}").touch()
    while not Path(go).exists():
        time.sleep(0.0005)
    summary = score_unit(unit, scorer, SETTINGS, output)
    return 0 if summary.rows_now and not summary.failures else 1


def score_with_small_files(limit: int, arguments: list[str]) -> int:
    """The command, in a process that may write files of `limit` bytes at most."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return run(arguments, MeanScorerSource())
