"""What the forked commands do; every function takes plain values and returns an exit code."""

import contextlib
import importlib
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from pipelines import clean_dataset, train_fiqa
from pipelines.score_dataset import run
from tests.fakes import KilledOnceSource, MeanScorer, MeanScorerSource
from tests.served import PausingScorer, PausingSource

# Commands import these when they begin; here once, so that a child starts in milliseconds.
for job in ("score_job", "embed_job", "filter_job", "train_job", "subset_job", "findings_job", "clean_job"):
    importlib.import_module(f"pipelines.jobs.{job}")
with contextlib.suppress(ImportError):
    importlib.import_module("torch.utils.tensorboard")  # seconds, which each child would take

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


def train(arguments: list[str]) -> int:
    """The training command."""
    return train_fiqa.run(arguments)


def train_and_be_killed(name: str, arguments: list[str]) -> int:
    """The training command, killed (-9) when a file or folder is about to get this name."""
    _kill_at(lambda target: Path(target).name == name)
    return train_fiqa.run(arguments)


def clean(arguments: list[str]) -> int:
    """The cleaning command."""
    return clean_dataset.run(arguments)


def clean_and_be_killed(place: str, arguments: list[str]) -> int:
    """The cleaning command, killed (-9) when a file is about to get a path that ends like this."""
    _kill_at(lambda target: str(target).endswith(place))
    return clean_dataset.run(arguments)


def _kill_at(is_there: Callable[[os.PathLike[str] | str], bool]) -> None:
    """From now on, end this process (-9) when a file or folder is about to be put in such a place."""
    rename, replace = Path.rename, Path.replace

    def kill_at(target: os.PathLike[str] | str) -> None:
        if is_there(target):
            os.kill(os.getpid(), signal.SIGKILL)

    def renamed(path: Path, target: os.PathLike[str] | str) -> Path:
        kill_at(target)
        return rename(path, target)

    def replaced(path: Path, target: os.PathLike[str] | str) -> Path:
        kill_at(target)
        return replace(path, target)

    Path.rename, Path.replace = renamed, replaced
