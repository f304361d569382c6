"""What is checked, chosen and said before a Dataflow job is submitted; nothing here needs a cloud or an emulator."""

import argparse
import logging
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from fiqa_core.scoring.pool import ScorerPool
from fiqa_core.scoring.scorer import QualityScorer
from fiqa_core.scoring.scorer_sources import CheckpointScorer
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.cli.errors import OptionError
from pipelines.cli.gpu_machines import Gpu, MachineError, machine_type, parse_accelerator, parse_gpu
from pipelines.runners import dataflow, dataflow_checks
from pipelines.runners.beam_options import beam_options
from pipelines.score_dataset import EXIT_BAD_INPUT, make_parser, run
from tests.fakes import MeanScorer, MeanScorerSource

DOCS = Path(__file__).resolve().parents[2] / "docs" / "dataflow.md"
COMPLETE = ["--runner", "DataflowRunner", "--project", "fiqa-project", "--region", "us-central1"]
COMPLETE += ["--temp_location", "gs://fiqa-bucket/tmp", "--sdk_container_image", "example.dev/fiqa:1"]
PLACES = {"--input": ["gs://fiqa-bucket/faces"], "--output": ["gs://fiqa-bucket/out"]}


@pytest.fixture(autouse=True)
def _no_region_from_outside(monkeypatch):
    monkeypatch.delenv("CLOUDSDK_COMPUTE_REGION", raising=False)


def prepare(*arguments, gpu=None, device="auto", places=PLACES, no_wait=False):
    options = beam_options([*COMPLETE, *arguments], [])
    return dataflow.prepare(options, gpu, device, no_wait, places), options


def refusal(*arguments, **settings) -> str:
    with pytest.raises(OptionError) as error:
        prepare(*arguments, **settings)
    return str(error.value)


def test_a_gpu_is_a_type_and_a_count():
    assert parse_gpu("nvidia-l4") == Gpu("nvidia-l4", 1)
    assert parse_gpu("nvidia-tesla-a100:4") == Gpu("nvidia-tesla-a100", 4)
    assert Gpu("nvidia-l4", 2).accelerator == "type:nvidia-l4;count:2;install-nvidia-driver"
    assert parse_accelerator(Gpu("nvidia-l4", 2).accelerator) == Gpu("nvidia-l4", 2)


@pytest.mark.parametrize(
    "text", ["", "l4", "nvidia-l4:", "nvidia-l4:0", "nvidia-l4:x", "nvidia-l4:99", "type:a;b", "²"]
)
def test_what_is_no_gpu_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_gpu(text)


def test_machine_types_go_with_the_gpu():
    assert machine_type(Gpu("nvidia-l4")) == "g2-standard-4"
    assert machine_type(Gpu("nvidia-l4", 8)) == "g2-standard-96"
    assert machine_type(Gpu("nvidia-tesla-t4", 2)) == "n1-standard-8"
    assert machine_type(Gpu("nvidia-h100-80gb")) == "a3-highgpu-1g"
    with pytest.raises(MachineError, match="1, 2, 4, 8"):
        machine_type(Gpu("nvidia-l4", 3))


def test_one_message_lists_all_that_is_missing_and_nothing_is_written(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    command = ["--runner", "DataflowRunner", "--gpu", "nvidia-l4", "--input", "faces/*.tar", "--output", "out"]
    assert run(command, MeanScorerSource()) == EXIT_BAD_INPUT
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    for missing in ("--project", "--region", "--temp_location", "--sdk_container_image", "--input", "--output"):
        assert f"  - {missing} " in record.getMessage()
    assert "(6)" in record.getMessage()
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_not_among_what_is_missing(caplog):
    assert run(["--runner", "DataflowRunner", "--input", "x", "--output", "y"]) == EXIT_BAD_INPUT
    assert "--project" in caplog.text
    assert "--model" not in caplog.text


def test_a_checkpoint_on_this_machine_is_refused(tmp_path):
    message = refusal(places=PLACES | {"--model": [str(tmp_path / "model.pt")]})
    assert "--model" in message
    assert "(1)" in message


def test_files_of_other_stores_are_left_to_the_workers():
    prepare(places={"--input": ["s3://faces/x.tar", "https://example.org/y.tar"], "--output": ["s3://faces/out"]})


def test_a_malformed_project_or_bucket_is_refused_before_anything_is_written():
    assert "gs-bucket" in refusal("--temp_location", "gs-bucket/tmp")
    assert "Invalid Project ID" in refusal("--project", "My Project")


def test_without_the_gcp_extra_the_message_names_it(monkeypatch):
    real = dataflow_checks.importlib.import_module

    def absent(name, *rest):
        if name == "google.cloud.dataflow":
            raise ModuleNotFoundError("No module named 'google.cloud.dataflow'")
        return real(name, *rest)

    monkeypatch.setattr(dataflow_checks.importlib, "import_module", absent)
    assert "pip install -e '.[gcp]'" in refusal()


def test_setup_file_stands_in_for_the_image_and_must_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_image = COMPLETE[:-2]
    options = beam_options([*without_image, "--setup_file", "setup.py"], [])
    with pytest.raises(OptionError, match=r"setup\.py: no such file"):
        dataflow.prepare(options, None, "auto", False, PLACES)
    (tmp_path / "setup.py").touch()
    options = beam_options([*without_image, "--setup_file", "setup.py"], [])
    dataflow.prepare(options, None, "auto", False, PLACES)
    assert options.get_all_options()["setup_file"] == str(tmp_path / "setup.py")


@pytest.mark.parametrize(
    "again",
    [
        ("--dataflow_service_options", "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"),
        ("--experiments", "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"),
        ("--resource_hints", "accelerator=type:nvidia-l4;count:1;install-nvidia-driver"),
    ],
)
def test_the_gpu_is_asked_for_in_one_way_only(again):
    message = refusal(*again, gpu=Gpu("nvidia-l4"))
    assert "asked for twice" in message
    assert f"--gpu nvidia-l4 and {again[0]}" in message


def test_a_service_option_without_the_driver_is_refused():
    message = refusal("--dataflow_service_options", "worker_accelerator=type:nvidia-l4;count:1")
    assert "install-nvidia-driver" in message


def test_contradictions_are_refused():
    assert "--device cuda needs workers with a GPU" in refusal(device="cuda")
    assert "idle" in refusal(device="cpu", gpu=Gpu("nvidia-l4"))
    assert "--flexrs_goal" in refusal("--flexrs_goal", "COST_OPTIMIZED", gpu=Gpu("nvidia-l4"))
    assert "--machine_type is missing" in refusal(gpu=Gpu("nvidia-b300-x"))
    prepare("--machine_type", "a9-future-1g", gpu=Gpu("nvidia-b300-x"))


def test_gpu_options_with_another_runner_are_explained(tmp_path, caplog):
    command = ["--input", str(tmp_path), "--output", str(tmp_path / "out")]
    assert run([*command, "--gpu", "nvidia-l4"], MeanScorerSource()) == EXIT_BAD_INPUT
    assert "--runner DataflowRunner" in caplog.text
    assert "--device cuda" in caplog.text
    for arguments in (["--no-wait"], ["--dry_run", "True"]):
        assert run([*command, *arguments], MeanScorerSource()) == EXIT_BAD_INPUT
        assert f"{arguments[0]} is for --runner DataflowRunner" in caplog.text


def test_gpu_workers_are_a_process_a_core_that_feed_one_scoring_process_a_gpu():
    setup, options = prepare(gpu=Gpu("nvidia-l4", 2))
    assert (setup.device, setup.gpus) == ("cuda", 1)
    assert not dataflow.runs_in_one_process(options)
    assert setup.hints == {"accelerator": "type:nvidia-l4;count:2;install-nvidia-driver"}
    chosen = options.get_all_options()
    assert chosen["machine_type"] == "g2-standard-24"
    assert chosen["number_of_worker_harness_threads"] == 1
    assert chosen["experiments"] == ["use_sibling_sdk_workers"]
    assert chosen["staging_location"] == "gs://fiqa-bucket/tmp"


def test_one_process_a_gpu_worker_holds_a_network_for_each_gpu_where_the_user_wants_it():
    setup, options = prepare("--experiments", "no_use_multiple_sdk_containers", gpu=Gpu("nvidia-l4", 2))
    assert setup.gpus == 2
    assert dataflow.runs_in_one_process(options)
    chosen = options.get_all_options()
    assert chosen["number_of_worker_harness_threads"] == 8
    assert chosen["experiments"] == ["no_use_multiple_sdk_containers"]


def test_every_choice_is_logged_and_what_the_user_gave_stays(caplog):
    caplog.set_level(logging.INFO)
    _, options = prepare("--machine_type", "g2-standard-16", "--num_workers", "20", gpu=Gpu("nvidia-l4"))
    for line in (
        "--machine_type g2-standard-16: as given",
        "--disk_size_gb 50: ",
        "--max_num_workers 20: ",
        "--experiments use_sibling_sdk_workers: a worker process for each vCPU",
        "--number_of_worker_harness_threads 1: ",
        "--device cuda: a worker without its GPU is an error, never a CPU run",
    ):
        assert line in caplog.text
    assert options.get_all_options()["machine_type"] == "g2-standard-16"


def test_workers_without_gpus_use_one_thread_of_torch_in_each_process():
    setup, options = prepare()
    assert (setup.device, setup.threads, setup.hints) == ("auto", 1, {})
    assert options.get_all_options()["number_of_worker_harness_threads"] == 1
    setup, _ = prepare("--experiments", "no_use_multiple_sdk_containers")
    assert setup.threads == 0


def test_dry_run_false_is_no_dry_run():
    _, options = prepare("--dry_run", "False")
    assert not dataflow.is_dry_run(options)
    assert not options.get_all_options()["dry_run"]


def test_the_commands_of_the_documentation_pass_the_check():
    values = {"PROJECT": "my-faces", "REGION": "us-central1", "BUCKET": "gs://my-faces-fiqa"}
    values |= {"IMAGE": "example.dev/fiqa/worker:0.1.0", "WORKER": "w@my-faces.iam.gserviceaccount.com"}
    blocks = re.findall(r"```bash\n(python -m pipelines\.score_dataset .*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        text = re.sub(r"\$([A-Z]+)", lambda name: values[name[1]], block.replace("\\\n", " "))
        arguments, rest = make_parser().parse_known_args(shlex.split(text)[3:])
        places = {"--input": arguments.input, "--output": [arguments.output], "--model": [arguments.model]}
        setup = dataflow.prepare(beam_options(rest, []), arguments.gpu, arguments.device, arguments.no_wait, places)
        assert setup.device == ("cuda" if arguments.gpu else "auto")


def test_checking_needs_no_network(monkeypatch):
    import socket

    def refuse(*_args, **_settings):
        raise AssertionError("the check opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    prepare(gpu=Gpu("nvidia-l4"))


def test_a_worker_with_two_gpus_loads_a_model_on_each(monkeypatch):
    loaded = []

    def from_checkpoint(uri, device, **_settings):
        loaded.append(device)
        return SimpleNamespace(
            loaded=SimpleNamespace(sha256="0" * 64, arch="vit_s", mode="token"), device=device, batch_size=256
        )

    monkeypatch.setattr(QualityScorer, "from_checkpoint", from_checkpoint)
    monkeypatch.setattr(
        "fiqa_core.scoring.scorer_sources.worker_device", lambda device: device
    )  # there is no GPU here to be found
    settings = ScoreSettings("vit_s", "token", "0" * 64)
    pool = CheckpointScorer("gs://bucket/model.pt", settings, "cuda", gpus=2).load()
    assert loaded == ["cuda:0", "cuda:1"]
    assert len(pool.scorers) == 2
    CheckpointScorer("gs://bucket/model.pt", settings, "cuda").load()
    assert loaded[2:] == ["cuda"]


def test_a_pool_gives_each_gpu_one_batch_at_a_time():
    import threading

    import numpy as np

    class Gpu0(MeanScorer):
        def __init__(self):
            self.busy = threading.Lock()
            self.batches = 0

        def score_pixels(self, pixels):
            assert self.busy.acquire(blocking=False), "two batches at once on one GPU"
            try:
                meeting.wait(10)  # passes only while both GPUs are at work
                self.batches += 1
                return super().score_pixels(pixels)
            finally:
                self.busy.release()

    meeting = threading.Barrier(2)
    pool = ScorerPool([Gpu0(), Gpu0()])
    batches = [np.full((4, 112, 112, 3), value, np.uint8) for value in range(8)]
    found: dict[int, float] = {}

    def score(values):
        for value in values:
            found[value] = float(pool.score_pixels(batches[value]).quality[0])

    threads = [threading.Thread(target=score, args=(range(start, 8, 2),)) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {value: pytest.approx(value / 255) for value in range(8)}
    assert [scorer.batches for scorer in pool.scorers] == [4, 4]
