"""Checkpoints of a training run: written whole or not at all, and exact to go on from.

`<output>/checkpoints/step-00001200/` holds `shared.pt` (what all processes have alike) and `process-N.pt` (one
process's class centres, their optimiser and random numbers). Only tensors and plain values are in them, so they are
read without running code.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.sharded_softmax import process, processes

FOLDER = "checkpoints"


def save(output: Path, step: int, shared: dict[str, Any], own: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint; every process calls it. Older ones than the last `keep` are removed."""
    folder = output / FOLDER / f"step-{step:08d}"
    unfinished = output / FOLDER / f"_tmp-{folder.name}"
    if process() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        torch.save(shared | {"processes": processes()}, unfinished / "shared.pt")
    _wait()
    torch.save(own, unfinished / f"process-{process()}.pt")
    _wait()
    if process() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        for old in found(output)[:-keep]:
            shutil.rmtree(old)
    _wait()
    return folder


def found(output: Path) -> list[Path]:
    """Finished checkpoints of an output, oldest first."""
    return sorted((output / FOLDER).glob("step-*"))


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What all processes share, and this process's own part.

    Raises:
        TrainingError: it cannot be read, or was written by another number of processes.
    """
    shared = _read(folder / "shared.pt")
    if shared["processes"] != processes():
        raise TrainingError(
            f"{folder}: written by {shared['processes']} processes, this run has {processes()}; class centres are cut "
            "by process: go on with as many, or start anew in another output"
        )
    return shared, _read(folder / f"process-{process()}.pt")


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return content
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path}: not a readable checkpoint ({error}); remove its folder to go on from an earlier one"
        ) from error


def _wait() -> None:
    if processes() > 1:
        dist.barrier()
