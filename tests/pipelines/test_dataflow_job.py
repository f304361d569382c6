"""A Dataflow job as the service receives it, and the command's part in it from submission to account."""

import io
import json
import logging
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from apache_beam.runners.dataflow import dataflow_runner

from pipelines.runners import dataflow_job
from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_INTERRUPTED, run
from tests.fakes import MeanScorerSource
from tests.pipelines.cloud import PROJECT, REGION, DataflowStub, bucket_files, run_staged_pipeline, storage_emulator
from tests.pipelines.test_dataflow_graph import tar_of
from tests.shared import lfw_faces, needs_shared

pytestmark = needs_shared
ROOT = Path(__file__).resolve().parents[2]
IMAGE = "us-central1-docker.pkg.dev/fiqa-project/fiqa/worker:1"


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as monkeypatch, storage_emulator(monkeypatch) as url:
        faces = lfw_faces(20)
        for shard in range(2):
            bucket_files().pipe_file(f"{url}/faces/{shard}.tar", tar_of(faces[10 * shard : 10 * (shard + 1)]))
        yield url


@pytest.fixture(autouse=True)
def _impatient(monkeypatch, caplog):
    """The runner asks for the job's state every few seconds; here a hundred times as often."""
    caplog.set_level(logging.INFO)
    clock = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 100))
    monkeypatch.setattr(dataflow_runner, "time", clock)


def score(bucket: str, output: str, *arguments: str) -> int:
    command = ["--input", f"{bucket}/faces/*.tar", "--output", f"{bucket}/{output}", "--runner", "DataflowRunner"]
    command += ["--project", PROJECT, "--region", REGION, "--temp_location", f"{bucket}/tmp", "--no_auth"]
    command += ["--scoring-process", "off"]  # the staged job is run on this machine, which has no GPU
    return run([*command, *arguments], MeanScorerSource())


def template(bucket: str, name: str, *arguments: str) -> dict:
    """The whole job as a template file holds it."""
    place = f"{bucket}/templates/{name}"
    assert score(bucket, f"out-{name}", "--template_location", place, *arguments) == 0
    return json.loads(bucket_files().cat_file(place))


def test_the_job_json_asks_for_gpu_workers_with_processes_in_one_container_and_the_image(bucket, caplog):
    environment = template(bucket, "gpu", "--sdk_container_image", IMAGE, "--gpu", "nvidia-l4")["environment"]
    (pool,) = environment["workerPools"]
    assert pool["kind"] == "harness"
    assert pool["machineType"] == "g2-standard-4"
    assert pool["diskSizeGb"] == 50
    assert pool["numThreadsPerWorker"] == 1
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 10}
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert "use_sibling_sdk_workers" in environment["experiments"]
    assert "no_use_multiple_sdk_containers" not in environment["experiments"]
    assert "serviceOptions" not in environment
    assert "Nothing runs until a job is started from it" in caplog.text


def test_everything_that_was_chosen_can_be_chosen_by_the_user(bucket):
    service = "worker_accelerator=type:nvidia-tesla-t4;count:2;install-nvidia-driver"
    own = ["--dataflow_service_options", service, "--worker_machine_type", "n1-highmem-8", "--disk_size_gb", "80"]
    own += ["--number_of_worker_harness_threads", "3", "--experiments", "use_multiple_sdk_containers"]
    own += ["--num_workers", "2", "--autoscaling_algorithm", "NONE", "--job_name", "my-job"]
    own += ["--service_account_email", "worker@fiqa-project.iam.gserviceaccount.com"]
    job = template(bucket, "own", "--sdk_container_image", IMAGE, *own)
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert job["name"] == "my-job"
    assert environment["serviceOptions"] == [service]
    assert environment["serviceAccountEmail"] == "worker@fiqa-project.iam.gserviceaccount.com"
    assert (pool["machineType"], pool["diskSizeGb"], pool["numThreadsPerWorker"]) == ("n1-highmem-8", 80, 3)
    assert pool["numWorkers"] == 2
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_NONE"}
    assert "use_multiple_sdk_containers" in environment["experiments"]
    assert "use_sibling_sdk_workers" not in environment["experiments"]


def test_without_a_gpu_there_is_one_process_a_core_with_one_unit_at_a_time(bucket):
    environment = template(bucket, "cpu", "--sdk_container_image", IMAGE)["environment"]
    (pool,) = environment["workerPools"]
    assert "machineType" not in pool
    assert pool["numThreadsPerWorker"] == 1
    assert "use_multiple_sdk_containers" in environment["experiments"]


def test_a_submitted_job_scores_every_image_and_the_command_closes_the_account(bucket, tmp_path, caplog, capsys):
    """The staged pipeline is run as it was submitted, so this is the table that Dataflow's workers would write."""
    with DataflowStub(run_staged_pipeline) as service:
        arguments = ["--sdk_container_image", IMAGE, "--gpu", "nvidia-l4", "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "done", *arguments) == 0
    (job,) = service.submitted
    assert job["name"].startswith("fiqa-score-")
    assert job["environment"]["workerPools"][0]["machineType"] == "g2-standard-4"
    assert run(["--input", f"{bucket}/faces/*.tar", "--output", str(tmp_path / "here")], MeanScorerSource()) == 0
    bucket_files().get(f"{bucket}/done/quality", str(tmp_path / "there"), recursive=True)
    tables = [pd.read_parquet(tmp_path / place).sort_values(["shard", "index"]) for place in ("here/quality", "there")]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables))
    assert tables[0].key.tolist() == [key for key, _, _ in lfw_faces(20)]
    assert "20 records in 2 units" in capsys.readouterr().out
    url = f"https://console.cloud.google.com/dataflow/jobs/{REGION}/job-1?project={PROJECT}"
    assert url in caplog.text
    assert "machine_type g2-standard-4" in caplog.text


def test_the_progress_line_shows_what_the_workers_counted(bucket, caplog, monkeypatch):
    monkeypatch.setattr("pipelines.runners.progress._LOG_EVERY_S", 0.05)
    seen = threading.Event()

    def work(job):
        seen.wait(10)
        return run_staged_pipeline(job)

    with DataflowStub(work) as service:
        service.metrics = {"records": 12, "rejected": 3, "status_scored": 9}
        original = dataflow_job._Job.progress

        def progress(self):
            found = original(self)
            seen.set()
            return found

        monkeypatch.setattr(dataflow_job._Job, "progress", progress)
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "progress", *arguments) == 0
    assert "12 images, " in caplog.text
    assert "3 rejected" in caplog.text


def test_a_failed_job_names_its_cause_and_resume_does_the_rest(bucket, caplog, capsys):
    def fail(_job):
        service.messages = [error_message("Startup of the worker pool failed: quota NVIDIA_L4_GPUS exceeded")]
        time.sleep(0.5)
        return "JOB_STATE_FAILED"

    with DataflowStub(fail) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "failed", *arguments) == EXIT_BAD_INPUT
    assert "NVIDIA_L4_GPUS exceeded" in caplog.text
    assert "console.cloud.google.com/dataflow/jobs" in caplog.text
    assert "--resume" in caplog.text
    with DataflowStub(run_staged_pipeline) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "failed", *arguments, "--resume") == 0
    assert "20 records in 2 units" in capsys.readouterr().out


def test_a_job_that_is_not_accepted_is_an_error_with_advice(bucket, caplog):
    with DataflowStub(run_staged_pipeline, refuse=403) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "refused", *arguments) == EXIT_BAD_INPUT
    assert "was not accepted" in caplog.text
    assert "lacks a role" in caplog.text


def test_a_job_that_is_lost_from_sight_is_no_success(bucket, caplog, monkeypatch):
    """As when the network is gone for longer than the runner tries: its polling ends, the job's end is not known."""
    monkeypatch.setattr(dataflow_runner.DataflowRunner, "poll_for_job_completion", lambda *_: None)
    go_on = threading.Event()

    def work(job):
        go_on.wait(30)
        return run_staged_pipeline(job)

    with DataflowStub(work) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "lost", *arguments) == EXIT_BAD_INPUT
        go_on.set()
    assert "contact with job job-1 was lost" in caplog.text
    assert "it may still run" in caplog.text


def test_interrupting_the_command_leaves_the_job_running_and_says_so(bucket, caplog, monkeypatch):
    go_on = threading.Event()

    def work(job):
        go_on.wait(30)
        return run_staged_pipeline(job)

    def interrupt(seconds):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(seconds / 100)

    monkeypatch.setattr(dataflow_runner.time, "sleep", interrupt)
    with DataflowStub(work) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "left", *arguments) == EXIT_INTERRUPTED
        assert "goes on in the cloud" in caplog.text
        assert f"gcloud dataflow jobs cancel job-1 --region={REGION}" in caplog.text
        assert not [call for call in service.requests if call.startswith("PUT")]
        go_on.set()
        for thread in threading.enumerate():
            if "poll_for_job_completion" in thread.name:
                thread.join(30)
    assert bucket_files().exists(f"{bucket}/left/summary.json")


def test_no_wait_submits_and_returns_and_resume_closes_the_account(bucket, caplog, capsys):
    with DataflowStub(run_staged_pipeline) as service:
        arguments = ["--sdk_container_image", IMAGE, "--dataflow_endpoint", service.endpoint]
        assert score(bucket, "later", *arguments, "--no-wait") == 0
    assert "not waiting" in caplog.text
    assert "records in" not in capsys.readouterr().out
    command = ["--input", f"{bucket}/faces/*.tar", "--output", f"{bucket}/later", "--resume"]
    assert run(command, MeanScorerSource()) == 0
    assert "20 records in 2 units" in capsys.readouterr().out


def test_setup_file_stages_the_whole_package_and_it_installs(bucket, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("fiqa_core", "schemas", "transforms", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    monkeypatch.chdir(source)
    job = template(bucket, "setup", "--setup_file", "setup.py")
    (package,) = [p for p in job["environment"]["workerPools"][0]["packages"] if p["name"].endswith(".tar.gz")]
    staged = bucket_files().cat_file(package["location"].removeprefix("storage.googleapis.com/"))
    with tarfile.open(fileobj=io.BytesIO(staged)) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    wanted |= {"fiqa_core/models/vit_hybrid_lfw.safetensors", "fiqa_core/models/vit_hybrid_lfw.md", "schemas/py.typed"}
    assert wanted <= members
    (tmp_path / "workflow.tar.gz").write_bytes(staged)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", tmp_path / "worker", tmp_path / "workflow.tar.gz"], check=True)
    script = "import transforms.score, pipelines.score_dataset, schemas.quality; print(transforms.score.__file__)"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "worker")}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert found.stdout.decode().strip() == str(tmp_path / "worker" / "transforms" / "score.py")


def error_message(text: str) -> dict:
    return {"id": "1", "time": "2026-01-01T00:00:00Z", "messageText": text, "messageImportance": "JOB_MESSAGE_ERROR"}
