"""The class-sharded margin softmax: one process is the plain loss, two processes are one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.training.losses import certainty_ratio, class_similarities, cosines, recognition_loss
from tests.fiqa_core.training.two_processes import case, step
from tests.makers.containers import face_records, write_webdataset

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def alone():
    return step(*case())


def test_one_process_gives_the_plain_loss_and_its_gradients(alone):
    x, y, w, centres = case()
    x.requires_grad_()
    centres.requires_grad_()
    cos = cosines(x, centres)
    loss = recognition_loss(cos, y, 64, 0.4, w)
    loss.backward()
    torch.testing.assert_close(alone["loss"], loss.detach())
    torch.testing.assert_close(alone["x"], x.grad)
    torch.testing.assert_close(alone["centres"], centres.grad)
    torch.testing.assert_close(alone["certainty"], certainty_ratio(*class_similarities(cos, y)))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes under torchrun wrote."""
    folder = tmp_path_factory.mktemp("two")
    shards = write_webdataset(folder / "faces-%06d.tar", face_records(24, identities=5), maxcount=12)
    config = {
        "data": {"input": [str(path) for path in shards], "shuffle": 8},
        "run": {"output": "?", "threads": 1, "device": "cpu", "checkpoint_minutes": 0, "keep": 9},
        "network": {"width": 16, "depth": 2, "patch": 28, "mask_ratio": 0.01},
        "optimiser": {"batch": 3, "epochs": 1.5, "warmup_epochs": 1, "ema": 0.5},
    }
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(Path(__file__).with_name("two_processes.py")), str(folder), str(folder / "config.json")]
    done = subprocess.run(command + script, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_with_half_of_the_classes_each_give_what_one_gives(alone, two):
    first, second = (torch.load(two / f"{number}.pt") for number in (0, 1))
    torch.testing.assert_close(first["loss"], alone["loss"])
    torch.testing.assert_close(second["loss"], alone["loss"])
    for name in ("x", "centres", "certainty"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), alone[name])
    assert len(first["centres"]) == 4  # seven classes: four here, three there
    assert len(second["centres"]) == 3


def test_the_command_trains_with_two_processes_and_goes_on_exactly_where_they_stopped(two):
    assert load_checkpoint(str(two / "whole" / "model.pt")).mode == "token"
    for name in ("model.pt", "checkpoints/step-00000006/process-0.pt", "checkpoints/step-00000006/process-1.pt"):
        assert (two / "whole" / name).read_bytes() == (two / "cut" / name).read_bytes()
    parts = [torch.load(two / "whole" / f"checkpoints/step-00000006/process-{number}.pt") for number in (0, 1)]
    assert [len(part["softmax"]["weight"]) for part in parts] == [3, 2]


def test_each_of_two_processes_has_its_own_workers_and_they_end_with_it(two):
    mine, others = ((two / f"workers-{number}.txt").read_text().split() for number in (0, 1))
    assert len(mine) == len(others) == 2  # one reads, one decodes
    assert len({*mine, *others}) == 4
    assert not [number for number in (*mine, *others) if Path(f"/proc/{number}").exists()]


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
