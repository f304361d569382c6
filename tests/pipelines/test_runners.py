"""Which runner options become what: names, processes, GPUs, and what is refused before anything starts."""

import argparse
import socket
from unittest.mock import patch

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from fiqa_core.devices import DeviceError
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.unit import Unit
from pipelines import embed_dataset, filter_dataset, score_dataset
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_BAD_INPUT
from pipelines.cli.filter_options import make_parser
from pipelines.runners.beam_options import beam_options, is_bug, processes_chosen, reason, worker_processes
from pipelines.runners.local_workers import choose_workers
from tests.fiqa_core.scoring.test_devices import FakeGpus

MODE, WORKERS = "--direct_running_mode", "--direct_num_workers"


def processes(
    *arguments: str,
    device: str = "cuda",
    gpus: int = 3,
    images: int = 5000,
    output: str = "out",
    workers: int | None = None,
    **network: str,
) -> int:
    """Worker processes that a command line leads to, on a machine of 16 cores."""
    options = beam_options(arguments, [], workers)
    chosen = processes_chosen(arguments, workers)
    own = argparse.Namespace(
        device=device,
        input=["in"],
        output=output,
        scoring_process="auto",
        processes_chosen=chosen,
        **network,
    )
    units = tuple(Unit(n, "folder", "in", "in", 0, 1, 0, images // 100, 1, "") for n in range(100))
    with patch("os.cpu_count", lambda: 16):
        choose_workers(options, own, Plan(units), FakeGpus(gpus))
    return worker_processes(options)


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "direct", "FnApiRunner", "SwitchingDirectRunner"])
def test_local_runners_by_any_of_their_names_run_here_without_a_download(name):
    options = beam_options(["--runner", name], [])
    assert options.view_as(StandardOptions).runner == "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.mark.parametrize("name", ["DaskRunner", "dask", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_the_dask_runner_by_any_of_its_names_knows_its_options(name):
    pytest.importorskip("distributed", reason="extra [dask] is not installed")
    options = beam_options([f"--runner={name}", "--dask_npartitions=3"], [])
    assert options.view_as(StandardOptions).runner == "apache_beam.runners.dask.dask_runner.DaskRunner"


def test_a_runner_that_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(OptionError, match="Did you mean FlinkRunner"):
        beam_options(["--runner", "FlikRunner"], [])


def test_several_gpus_get_a_process_each_unless_the_user_chose():
    assert processes() == 3
    assert processes(device="auto") == 3
    assert processes(device="cuda:1") == 1
    assert processes(device="cpu") == 1
    assert processes(gpus=1) == 1
    assert processes(MODE, "in_memory") == 1
    assert processes(MODE, "multi_processing", WORKERS, "2") == 2
    assert processes(workers=5) == 5


def test_many_images_on_a_gpu_get_a_worker_process_a_core_less_one():
    assert processes(gpus=1, images=200_000) == 15
    assert processes(gpus=1, images=200_000, output="memory://out") == 1
    assert processes(gpus=0, images=200_000) == 1
    assert processes(gpus=1, images=200_000, workers=4) == 4
    assert processes(MODE, "in_memory", gpus=1, images=200_000) == 1


def test_a_network_in_the_memory_of_this_process_keeps_the_work_in_it():
    assert processes(gpus=1, images=200_000, model="memory://zoo/net.pt") == 1
    assert processes(gpus=3, model="memory://zoo/net.pt") == 1
    assert processes(gpus=1, images=200_000, model="zoo/net.pt") == 15


@pytest.mark.parametrize(
    ("options", "way_out"),
    [(["--workers", "2"], "--direct_running_mode in_memory"), (["--scoring-process", "on"], "--scoring-process off")],
)
def test_a_network_in_memory_is_refused_where_another_process_loads_it(options, way_out, tmp_path, caplog):
    own = ["--input", str(tmp_path), "--output", str(tmp_path / "out")]
    network = "memory://zoo/vit/model.pt"
    assert score_dataset.run([*own, "--model", network, *options]) == EXIT_BAD_INPUT
    assert f"{network}: memory:// is seen by one process only" in caplog.text
    assert way_out in caplog.text
    caplog.clear()
    assert embed_dataset.run([*own, "--model", network, *options]) == EXIT_BAD_INPUT
    assert f"{network}: memory:// is seen by one process only" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        ["--embeddings", "memory://e/quality"],
        ["--embeddings", "e.npy", "--embedding-keys", "memory://e/keys.txt"],
        ["--write", "webdataset", "--moved", "/faces=memory://faces"],
    ],
)
def test_filter_dataset_refuses_what_its_worker_processes_would_not_see(options, tmp_path, caplog):
    command = ["--quality", str(tmp_path), "--output", str(tmp_path / "out"), "--drop-worst", "0.1", *options]
    assert filter_dataset.run([*command, "--workers", "2"]) == EXIT_BAD_INPUT
    assert "memory:// is seen by one process only" in caplog.text


def test_workers_named_twice_or_for_another_runner_are_refused():
    with pytest.raises(OptionError, match="leave one of them out"):
        processes(WORKERS, "2", workers=2)
    with pytest.raises(OptionError, match="runs on this machine"):
        beam_options(["--runner", "DataflowRunner"], [], 2)


def test_filter_dataset_takes_a_number_of_workers_too():
    own = make_parser().parse_args(["--quality", "q", "--output", "o", "--workers", "3"])
    assert worker_processes(beam_options([], [], own.workers)) == 3


def test_a_number_of_workers_alone_means_that_many_processes():
    assert processes(WORKERS, "2", gpus=0) == 2
    options = beam_options([f"{WORKERS}=2"], [])
    assert options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    with pytest.raises(OptionError, match="no effect"):
        processes(WORKERS, "2", MODE, "in_memory")


def test_a_job_service_that_is_not_named_or_not_there_is_an_error_at_once():
    with pytest.raises(OptionError, match="--job_endpoint HOST:PORT"):
        beam_options(["--runner", "PortableRunner"], [])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OptionError, match=f"localhost:{port}: no job service answers"):
        beam_options(["--runner", "PortableRunner", "--job_endpoint", f"localhost:{port}"], [])


def test_the_reason_of_a_failed_job_is_taken_out_of_the_runners_traces():
    text = (
        "Traceback (most recent call last):\n  File 'worker.py', line 1\nRuntimeError: Traceback (most recent call "
        "last):\n  File 'x.py'\nfiqa_core.devices.DeviceError: device 'cuda' was asked for\nsee the driver\n"
    )
    expected = "fiqa_core.devices.DeviceError: device 'cuda' was asked for\nsee the driver"
    assert reason(RuntimeError(text)) == expected
    assert reason(RuntimeError("killed")) == "RuntimeError: killed"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("KeyError: 'score'", True),
        ("ValueError: 3 is not in list", True),
        ("AssertionError", True),
        ("fiqa_core.devices.DeviceError: device 'cuda' was asked for", False),
        ("OSError: [Errno 28] No space left on device", False),
        ("RuntimeError: a worker process died: exit code -9", False),
        ("grpc._channel._MultiThreadedRendezvous: the service went away", False),
    ],
)
def test_an_error_of_a_worker_that_is_none_of_ours_nor_of_the_system_is_a_bug(last, expected):
    text = f"Traceback (most recent call last):\n  File 'worker.py', line 1\nRuntimeError: Traceback:\n{last}\n"
    assert is_bug(RuntimeError(text)) is expected


def test_an_error_that_comes_back_as_itself_is_told_by_its_class():
    assert is_bug(KeyError("x [while running 'ScoreUnit']"))
    assert not is_bug(DeviceError("no GPU"))
    assert not is_bug(ConnectionError("refused"))
