"""Checkpoints of a training run: written whole or not at all; a run continues from them exactly.

`<output>/checkpoints/step-00001200/` holds `shared.pt` (the same for all processes) and `process-N.pt` (one
process's class centres, their optimiser and random numbers). They hold only tensors and plain values, so
reading them runs no code.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.sharded_softmax import process, processes
from fiqa_core.wording import first_line

FOLDER = "checkpoints"
_UNFINISHED = "_tmp-"
_NAME = re.compile(r"step-\d{8,}")


def save(output: Path, step: int, shared: dict[str, Any], own: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint; every process calls it. Older ones than the last `keep` are removed.

    Raises:
        TrainingError: it cannot be written; the message names the place.
    """
    folder = output / FOLDER / f"step-{step:08d}"
    unfinished = output / FOLDER / f"{_UNFINISHED}{folder.name}"
    if process() == 0:
        _remove_unfinished(output)
        unfinished.mkdir(parents=True)
        _write(shared | {"processes": processes()}, unfinished / "shared.pt")
    _wait()
    _write(own, unfinished / f"process-{process()}.pt")
    _wait()
    if process() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        for old in found(output)[:-keep]:
            # Renamed first: half a checkpoint must not look like a whole one.
            shutil.rmtree(old.rename(old.with_name(f"{_UNFINISHED}{old.name}")))
    _wait()
    return folder


def _remove_unfinished(output: Path) -> None:
    for left in (output / FOLDER).glob(f"{_UNFINISHED}*"):
        if _NAME.fullmatch(left.name.removeprefix(_UNFINISHED)) and not left.is_symlink():
            shutil.rmtree(left)


def _write(content: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, RuntimeError) as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise TrainingError(
            f"{path}: this checkpoint cannot be written ({first_line(error, 160)}); earlier ones are unchanged. Make "
            "room if the disk is full, then go on with --resume"
        ) from error


def found(output: Path) -> list[Path]:
    """Finished checkpoints of an output, oldest first."""
    return sorted(path for path in (output / FOLDER).glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What all processes share, and this process's own part.

    Raises:
        TrainingError: it cannot be read, or was written by another number of processes.
    """
    shared = _read(folder / "shared.pt", ("processes", "settings", "step"))
    if shared["processes"] != processes():
        raise TrainingError(
            f"{folder}: written by {shared['processes']} processes, this run has {processes()}; class centres are "
            "divided by process: continue with the same number, or start anew in another output"
        )
    return shared, _read(folder / f"process-{process()}.pt", ("softmax", "random"))


def _read(path: Path, expected: tuple[str, ...]) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        absent = [name for name in expected if name not in content]
    except Exception as error:  # a damaged file may raise any error
        raise TrainingError(
            f"{path}: not a readable checkpoint ({first_line(error, 160)}); remove its folder to go on from an earlier "
            "one"
        ) from error
    if absent:
        raise TrainingError(f"{path}: not a checkpoint of training: it has no {', '.join(absent)}")
    return content


def _wait() -> None:
    if processes() > 1:
        dist.barrier()
