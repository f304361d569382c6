"""Several GPUs on one machine, with the device layer faked: who uses which, and what a missing one says."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fiqa_core.devices import DeviceError, gpus_to_share, worker_device

ROOT = Path(__file__).resolve().parents[3]

# One worker process: takes its device, says so, and holds it until it is told to end.
WORKER = """
import sys
from pathlib import Path
from fiqa_core.devices import worker_device
from tests.fiqa_core.scoring.test_devices import FakeGpus
gpus, folder = FakeGpus(int(sys.argv[1])), Path(sys.argv[2])
device = worker_device("cuda", gpus, folder)
assert worker_device("cuda", gpus, folder) == device  # a second model of the same process shares its GPU
print(device, flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True)
class FakeGpus:
    """So many GPUs, the first of them physical number `first`."""

    number: int
    first: int = 0

    def count(self) -> int:
        return self.number

    def identity(self, index: int) -> str:
        return f"GPU-{self.first + index:08x}"


@pytest.fixture
def start_worker(tmp_path):
    """Starts worker processes that see three GPUs; all are stopped at the end."""
    workers = []

    def start(gpus: int = 3) -> tuple[subprocess.Popen, str]:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(gpus), str(tmp_path / "claims")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        return worker, worker.stdout.readline().strip()

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def test_each_gpu_gets_one_process_a_fourth_shares_and_a_killed_one_gives_its_gpu_back(start_worker):
    workers = dict(reversed(start_worker()) for _ in range(3))
    assert sorted(workers) == ["cuda:0", "cuda:1", "cuda:2"]
    workers["cuda:1"].send_signal(signal.SIGKILL)
    workers["cuda:1"].wait()
    assert start_worker()[1] == "cuda:1"
    assert start_worker()[1] == "cuda:0"  # all are taken once: the round begins again


def test_a_gpu_that_is_named_is_used_by_every_process(tmp_path):
    assert worker_device("cuda:2", FakeGpus(3), tmp_path) == "cuda:2"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0), ("cuda:3", 3), ("cuda:0", 0)])
def test_a_missing_gpu_is_an_error_in_the_worker_too(tmp_path, device, gpus):
    with pytest.raises(DeviceError, match=f"{device}.*{gpus} GPUs"):
        worker_device(device, FakeGpus(gpus), tmp_path)


def test_one_gpu_or_none_needs_no_claims(tmp_path):
    assert worker_device("cuda", FakeGpus(1), tmp_path) == "cuda:0"
    assert worker_device("auto", FakeGpus(0), tmp_path) == "cpu"
    assert worker_device("cpu", FakeGpus(3), tmp_path) == "cpu"
    assert not list(tmp_path.iterdir())


def test_what_a_device_option_leaves_to_share():
    shares = {name: gpus_to_share(name, FakeGpus(4)) for name in ("auto", "cuda", "cuda:1", "cpu")}
    assert shares == {"auto": 4, "cuda": 4, "cuda:1": 1, "cpu": 0}
