"""The same table from a Dask cluster of two processes, one of which is killed in mid-run."""

import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource, SlowMeanScorerSource
from tests.shared import SHARED, needs_shared

distributed = pytest.importorskip("distributed", reason="extra [dask] is not installed")
pytestmark = needs_shared
ROOT = Path(__file__).resolve().parents[2]


def test_a_dask_cluster_that_loses_a_worker_gives_the_undisturbed_table(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    faces = ["--input", str(SHARED / "data" / "lfw_original"), "--unit-size", "20"]
    assert run([*faces, "--output", str(tmp_path / "local")], MeanScorerSource()) == 0
    out = tmp_path / "dask"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            pids = list(client.run(os.getpid).values())
        killed = threading.Event()

        def kill_one_at_work():
            while len(list(out.glob("quality/*.parquet"))) < 2:
                time.sleep(0.02)
            os.kill(pids[0], signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill_one_at_work, daemon=True).start()
        arguments = ["--runner", "DaskRunner", "--dask_client_address", cluster.scheduler_address]
        arguments += ["--dask_npartitions", "8"]
        assert run([*faces, "--output", str(out), *arguments], SlowMeanScorerSource()) == 0
        assert killed.is_set()
    tables = [pd.read_parquet(tmp_path / name / "quality").sort_values("index") for name in ("local", "dask")]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables))
