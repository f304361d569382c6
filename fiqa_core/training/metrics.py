"""Metrics of a run: `metrics.jsonl` always, TensorBoard if it is installed."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from fiqa_core import storage
from fiqa_core.extras import install_extra
from fiqa_core.training.student import Losses

_log = logging.getLogger(__name__)
FILE, BOARD = "metrics.jsonl", "tensorboard"


class Step(NamedTuple):
    """A step that was done: its number, from 1, of `steps`; the epoch it is in, a fraction; its learning rate."""

    number: int
    steps: int
    epoch: float
    rate: float


class Metrics:
    """Writes metrics of one run; lines logged after the step from which it continues are removed."""

    def __init__(self, output: Path, step: int) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._path = output / FILE
        before = self._path.read_text(errors="replace").splitlines() if self._path.exists() else []
        kept = "".join(line + "\n" for line in before if _step_of(line) <= step)
        storage.publish_bytes(kept.encode(), str(output), str(self._path))
        self._board = _board(output / BOARD, step)

    def add(self, step: Step, found: Losses, steps_a_second: float, batch: int) -> str:
        """Log a step of `batch` images; returns the line for people, with the time that is left."""
        named = {name: float(value.detach()) for name, value in found._asdict().items() if value is not None}
        images = batch * steps_a_second
        row: dict[str, Any] = {"step": step.number, **named, "lr": step.rate, "images_a_second": round(images, 1)}
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, step.number)
            self._board.flush()
        parts = ", ".join(f"{name} {value:.4f}" for name, value in named.items())
        left = (step.steps - step.number) / max(steps_a_second, 1e-9)
        return (
            f"step {step.number:,} of {step.steps:,} (epoch {step.epoch:.2f}): {parts}; lr {step.rate:.2e}; "
            f"{images:,.0f} images/s a process; {_duration(left)} left"
        )


def _step_of(line: str) -> float:
    """Infinity for half a line, which a killed run can leave."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return float("inf")


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.info("no TensorBoard logs: to have them, %s; %s is written anyway", install_extra("train"), FILE)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
