"""The same table from Dask clusters of two processes and of four, with one killed in mid-run or without its device."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource, NoDeviceSource, SlowMeanScorerSource
from tests.faults.conftest import assert_nothing_left_over, quality_files
from tests.shared import SHARED, needs_shared

distributed = pytest.importorskip("distributed", reason="extra [dask] is not installed")
pytestmark = needs_shared
ROOT = Path(__file__).resolve().parents[2]
FACES = ["--input", str(SHARED / "data" / "lfw_original"), "--unit-size", "20"]


@pytest.fixture
def cluster_of(monkeypatch):
    """Starts a local cluster of so many worker processes; returns it and the options that lead to it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    clusters = []

    def start(processes: int):
        cluster = distributed.LocalCluster(
            n_workers=processes, threads_per_worker=1, processes=True, dashboard_address=None
        )
        clusters.append(cluster)
        return cluster, ["--runner", "DaskRunner", "--dask_client_address", cluster.scheduler_address]

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("in_memory") / "out"
    assert run([*FACES, "--output", str(output)], MeanScorerSource()) == 0
    return quality_files(output)


def test_a_dask_cluster_that_loses_a_worker_gives_the_undisturbed_table(undisturbed, cluster_of, tmp_path):
    out = tmp_path / "dask"
    cluster, options = cluster_of(2)
    with distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
    killed = threading.Event()

    def kill_one_at_work():
        while len(list(out.glob("quality/*.parquet"))) < 2:
            time.sleep(0.02)
        os.kill(pids[0], signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill_one_at_work, daemon=True).start()
    command = [*FACES, "--output", str(out), *options, "--dask_npartitions", "8"]
    assert run(command, SlowMeanScorerSource()) == 0
    assert killed.is_set()
    assert quality_files(out) == undisturbed
    assert_nothing_left_over(out)


def test_a_dask_cluster_of_four_writes_the_same_bytes_and_fails_by_name_without_the_device(
    undisturbed, cluster_of, tmp_path, caplog
):
    _, options = cluster_of(4)
    assert run([*FACES, "--output", str(tmp_path / "four"), *options], MeanScorerSource()) == 0
    assert quality_files(tmp_path / "four") == undisturbed
    assert run([*FACES, "--output", str(tmp_path / "none"), *options], NoDeviceSource()) == 2
    assert "device 'cuda' was asked for" in caplog.text
    assert not (tmp_path / "none" / "summary.json").exists()
