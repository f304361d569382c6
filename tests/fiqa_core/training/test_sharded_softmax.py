"""The class-sharded margin softmax: one process is the plain loss, two processes are one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fiqa_core.training.losses import certainty_ratio, class_similarities, cosines, recognition_loss
from tests.fiqa_core.training.two_processes import case, step

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


def test_two_processes_with_half_of_the_classes_each_give_what_one_gives(alone, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(Path(__file__).with_name("two_processes.py")), str(tmp_path)]
    done = subprocess.run(command + script, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{number}.pt") for number in (0, 1))
    torch.testing.assert_close(first["loss"], alone["loss"])
    torch.testing.assert_close(second["loss"], alone["loss"])
    for name in ("x", "centres", "certainty"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), alone[name])
    assert len(first["centres"]) == 4  # seven classes: four here, three there
    assert len(second["centres"]) == 3


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
