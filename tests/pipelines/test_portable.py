"""The same table from every way to run on one machine, worker pools in processes of their own among them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.score_dataset import run
from tests.fakes import KilledOnceSource, MeanScorerSource, NoDeviceSource
from tests.faults.conftest import assert_nothing_left_over, quality_files
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
ROOT = Path(__file__).resolve().parents[2]
FACES = ["--input", str(SHARED / "data" / "lfw_original"), "--unit-size", "50"]
LOOPBACK = ["--runner", "PortableRunner", "--job_endpoint", "embed", "--environment_type", "LOOPBACK"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def serve(module: str, option: str, logs: Path) -> tuple[subprocess.Popen, int]:
    """Start one of Beam's servers in a process group of its own; it and its port."""
    port = free_port()
    # The worker pool starts its workers as `python`: it must find this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-m", module, option, str(port)],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=(logs / module).open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return process, port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def external(tmp_path_factory) -> Iterator[list[str]]:
    """Beam's job service and a worker pool, each a process; the options that lead to them."""
    logs = tmp_path_factory.mktemp("servers")
    servers = [
        serve("apache_beam.runners.portability.local_job_service_main", "-p", logs),
        serve("apache_beam.runners.worker.worker_pool_main", "--service_port", logs),
    ]
    try:
        end = time.monotonic() + 120
        while not all(answers(port) for _, port in servers):
            assert time.monotonic() < end, "the servers did not start"
            time.sleep(0.1)
        (_, job_port), (_, pool_port) = servers
        yield [
            *("--runner", "PortableRunner", "--job_endpoint", f"localhost:{job_port}"),
            *("--environment_type", "EXTERNAL", "--environment_config", f"localhost:{pool_port}"),
        ]
    finally:
        for server, _ in servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("in_memory") / "out"
    assert run([*FACES, "--output", str(output)], MeanScorerSource()) == 0
    files = quality_files(output)
    assert len(files) == 6
    return files


def test_an_external_worker_pool_writes_the_same_bytes(undisturbed, external, tmp_path):
    assert run([*FACES, "--output", str(tmp_path / "out"), *external], MeanScorerSource()) == 0
    assert quality_files(tmp_path / "out") == undisturbed
    assert_nothing_left_over(tmp_path / "out")


def test_a_loopback_worker_writes_the_same_bytes(undisturbed, tmp_path):
    assert run([*FACES, "--output", str(tmp_path / "out"), *LOOPBACK], MeanScorerSource()) == 0
    assert quality_files(tmp_path / "out") == undisturbed


def test_worker_processes_write_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    assert run([*FACES, "--output", str(tmp_path / "out"), *processes], MeanScorerSource()) == 0
    assert quality_files(tmp_path / "out") == undisturbed


def test_a_killed_external_worker_fails_the_job_and_resume_finishes_it(undisturbed, external, tmp_path, caplog):
    source = KilledOnceSource(str(tmp_path / "marker"))
    command = [*FACES, "--output", str(tmp_path / "out"), *external]
    assert run(command, source) == 2
    assert (tmp_path / "marker").exists()
    assert "the job failed" in caplog.text
    assert run([*command, "--resume"], source) == 0
    assert quality_files(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("where", ["external", "loopback"])
def test_a_worker_without_the_device_fails_the_job_with_the_workers_words(where, external, tmp_path, caplog):
    options = external if where == "external" else LOOPBACK
    assert run([*FACES, "--output", str(tmp_path / "out"), *options], NoDeviceSource()) == 2
    assert "the job failed: fiqa_core.devices.DeviceError: device 'cuda' was asked for" in caplog.text


def test_a_worker_pool_that_is_not_there_fails_the_job(external, tmp_path, caplog):
    options = [*external[:-1], f"localhost:{free_port()}"]
    assert run([*FACES, "--output", str(tmp_path / "out"), *options], MeanScorerSource()) == 2
    assert "Connection refused" in caplog.text
    assert json.loads((tmp_path / "out" / "run.json").read_text())["units"] == 6
