"""The command's own manners: exit codes, messages, and outputs left alone by a run that never began."""

import errno
import io
import logging
import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fiqa_core
import pipelines
import schemas
import transforms
from fiqa_core.devices import DeviceError
from fiqa_core.errors import FiqaError
from fiqa_core.runs.folder import OutputError
from fiqa_core.settings.checks import Numbers
from fiqa_core.storage import StorageError
from pipelines import filter_dataset
from pipelines.cli import faults
from pipelines.cli.command import EXIT_BUG, guarded, set_up_logging
from pipelines.cli.errors import OptionError
from pipelines.fiqa import main
from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, run
from tests.fakes import BrokenScorerSource, MeanScorerSource
from tests.fiqa_core.curation.tables import frame, write_quality
from tests.makers.containers import face_records, write_folder
from tests.makers.stand_in import write_checkpoint
from tests.pipelines.test_program import NEEDED

# What each command calls once its options are read.
JOBS = {
    "score": "pipelines.jobs.score_job.run",
    "embed": "pipelines.jobs.embed_job.run",
    "filter": "pipelines.jobs.filter_job.run",
    "evaluate": "pipelines.evaluate_quality._run",
    "train": "pipelines.jobs.train_job.run",
    "baselines": "pipelines.jobs.measure_job.run",
    "report": "pipelines.jobs.report_job.run",
    "doctor": "pipelines.cli.doctor._examine",
}
ROOT = Path(__file__).resolve().parents[2]
SLOWLY = "import sys; from pipelines.score_dataset import run; from tests.fakes import SlowMeanScorerSource as S;"


@pytest.fixture
def faces(tmp_path) -> Path:
    return write_folder(tmp_path / "faces", face_records(60))


@pytest.mark.parametrize("options", [[], ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]])
def test_ctrl_c_stops_soon_with_code_130_and_says_how_to_go_on(tmp_path, faces, options):
    out = tmp_path / "out"
    command = ["--input", str(faces), "--output", str(out), "--unit-size", "20", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{SLOWLY} sys.exit(run(sys.argv[1:], S()))", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts jobs in the background has them ignore Ctrl-C, and they inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not list(out.glob("_progress/*.json")) and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == EXIT_INTERRUPTED, said
    assert "--resume" in said
    # Beam's workers may warn as they start; of the interruption itself there is one line.
    told = [line for line in said.splitlines() if not line.startswith(("INFO ", "WARNING "))]
    assert len(told) == 1, said
    assert run([*command, "--resume"], MeanScorerSource()) == EXIT_OK


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--direct_num_workers", "abc"], "--direct_num_workers"),
        (["--direct_running_mode", "bogus"], "--direct_running_mode"),
        (["--runner", "Foo"], "not a runner"),
        (["--device", "cuda:9"], "cuda:9"),
    ],
)
def test_a_bad_option_is_one_message_and_nothing_is_begun(tmp_path, faces, options, said, caplog):
    out = tmp_path / "out"
    assert run(["--input", str(faces), "--output", str(out), *options], MeanScorerSource()) == EXIT_BAD_INPUT
    assert said in caplog.text
    assert "is kept" not in caplog.text
    assert not out.exists()


def test_a_network_without_a_quality_head_is_refused_before_anything_is_begun(tmp_path, faces, caplog):
    import torch

    path = write_checkpoint(tmp_path / "model.pt", "iresnet50")
    tensors = {name: tensor for name, tensor in torch.load(path).items() if not name.startswith("qs.")}
    torch.save(tensors, path)
    command = ["--input", str(faces), "--output", str(tmp_path / "out"), "--model", str(path)]
    assert run(command) == EXIT_BAD_INPUT
    assert "no quality head" in caplog.text
    assert not (tmp_path / "out").exists()


def test_ctrl_c_while_a_command_is_still_importing_is_one_line(tmp_path):
    program = tmp_path / "fiqa"
    program.write_text("from pipelines.fiqa import main\nraise SystemExit(main())\n")
    for words in (["-m", "pipelines.score_dataset"], ["-m", "pipelines.evaluate_quality"], [str(program), "score"]):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *words, "--help"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stderr is not None
        before = []
        while not any("pipelines.cli.interrupts" in line for line in before[:-1]):
            before.append(process.stderr.readline())
            assert before[-1], f"it ended (exit {process.wait()}) after {before[-3:]}"
        process.send_signal(signal.SIGINT)
        said = [line for line in process.communicate(timeout=60)[1].splitlines() if not line.startswith("import time")]
        assert process.returncode == EXIT_INTERRUPTED
        assert said == ["interrupted; nothing was begun"]


def test_what_was_interrupted_in_a_library_is_one_line_of_the_command(caplog, monkeypatch):
    log = logging.getLogger("some_command")
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)

    def body() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            logging.getLogger("apache_beam").error("a trace")
            raise RuntimeError("the engine gave up: interrupted") from None
        return EXIT_OK

    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    try:
        assert guarded(log, body, "interrupted; run it again") == EXIT_INTERRUPTED
    finally:
        logging.getLogger().removeHandler(handler)
        signal.signal(signal.SIGINT, before)
    assert handler.stream.getvalue() == "interrupted; run it again\n"


@pytest.mark.parametrize("error", [KeyError("type"), TypeError("x"), ZeroDivisionError("x"), AssertionError()])
def test_an_error_that_nobody_foresaw_has_its_trace_and_a_request_to_report_it(error, caplog):
    def body() -> int:
        raise error

    assert guarded(logging.getLogger("some_command"), body, "") == EXIT_BUG
    assert "Traceback" in caplog.text
    assert f"{type(error).__name__}: this is a fault of the program, not of your input: please report" in caplog.text


def test_an_error_that_a_library_raised_as_a_value_error_has_its_trace_too(caplog):
    assert guarded(logging.getLogger("some_command"), lambda: int(datetime.fromisoformat("x").year), "") == EXIT_BUG
    assert "fromisoformat" in caplog.text


def test_every_error_of_ours_has_one_base_class():
    """Whatever class of exception a module of this project has is ours, but for two that are no errors."""
    signals = {"SmallerBatches", "JobGoesOn"}
    modules = [
        import_module(found.name)
        for package in (fiqa_core, pipelines, transforms, schemas)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]
    classes = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == module.__name__
    }
    assert len(classes) > 25
    assert {kind.__name__ for kind in classes if not issubclass(kind, FiqaError)} == signals


@pytest.mark.parametrize(
    "error",
    [
        OutputError("out: is in use"),
        OptionError("--x: unknown"),
        DeviceError("cuda:9 is not there"),
        StorageError("gs://b: refused"),
        OSError(errno.ENOSPC, "No space left on device", "out"),
        MemoryError(),
        ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_error_of_ours_is_one_line_and_debug_shows_its_trace_too(error, debug, caplog):
    def body() -> int:
        raise error

    assert guarded(logging.getLogger("some_command"), body, "", debug) == EXIT_BAD_INPUT
    assert len(caplog.records) == 1 + debug
    assert ("Traceback" in caplog.text) == debug
    assert "please report" not in caplog.text


def test_a_value_error_of_our_own_code_that_is_not_one_of_our_errors_is_a_bug(caplog):
    assert guarded(logging.getLogger("some_command"), lambda: len(Numbers(2, float)("1")), "") == EXIT_BUG
    assert "Traceback" in caplog.text


def test_the_errors_of_every_command_are_handled_alike(caplog, monkeypatch):
    """A bug and a refusal inside each command: exit codes 4 and 2, and a trace for the bug only."""
    for name, body in JOBS.items():
        for error, code in ((KeyError("bug"), EXIT_BUG), (OutputError("refused"), EXIT_BAD_INPUT)):

            def fail(*_: object, error: Exception = error, **__: object) -> int:
                raise error

            monkeypatch.setattr(body, fail)
            assert main([name, *NEEDED.get(name, [])]) == code, name
            assert ("Traceback" in caplog.text) == (code == EXIT_BUG), name
            caplog.clear()


def test_a_bug_in_a_worker_is_a_bug_of_the_command(tmp_path, faces, caplog):
    command = ["--input", str(faces), "--output", str(tmp_path / "out"), "--unit-size", "20"]
    assert run(command, BrokenScorerSource()) == EXIT_BUG
    assert "KeyError" in caplog.text
    assert "please report" in caplog.text


def test_what_beam_warns_of_as_it_is_imported_without_the_extra_gcp_is_not_shown(tmp_path):
    code = (
        "import sys; sys.modules['apitools'] = None\n"
        "from pipelines.fiqa import main\n"
        f"sys.exit(main(['score', '--input', {str(tmp_path / 'none')!r}, '--output', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == EXIT_BAD_INPUT
    assert "apitools" not in done.stderr
    assert "no such file" in done.stderr


def unwritable(tmp_path: Path) -> dict[str, Path]:
    """Outputs where nothing can be written, whoever runs this."""
    (tmp_path / "file").write_text("mine")
    return {
        f"{tmp_path / 'file'} is a file; expected a folder": tmp_path / "file",
        f"{tmp_path / 'file'} is a file; expected": tmp_path / "file" / "below",
        "File name too long. Choose a shorter name": tmp_path / ("n" * 300),
        "cannot be written to (": Path("/proc/no/such"),
    }


def test_an_output_that_cannot_be_written_is_one_sentence_with_the_place_and_what_to_do(tmp_path, faces, caplog):
    quality = write_quality(tmp_path / "quality", frame([0.5, 0.6]))
    for said, output in unwritable(tmp_path).items():
        for start in (
            lambda place: run(["--input", str(faces), "--output", place], MeanScorerSource()),
            lambda place: filter_dataset.run(["--quality", str(quality), "--output", place]),
        ):
            assert start(str(output)) == EXIT_BAD_INPUT
            assert said in caplog.text
            assert "Traceback" not in caplog.text
            assert "[Errno" not in caplog.text
            caplog.clear()
    assert (tmp_path / "file").read_text() == "mine"


def test_the_next_line_runs_as_it_is_and_shows_the_worst_first_and_the_command_that_filters(tmp_path, faces, capfd):
    out = tmp_path / "it's here"
    assert run(["--input", str(faces), "--output", str(out)], MeanScorerSource()) == EXIT_OK
    said = capfd.readouterr().out.splitlines()
    shown, then = (next(line for line in said if line.startswith(word)) for word in ("next: ", "then: "))
    printed = subprocess.run(
        shown.removeprefix("next: "), shell=True, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert printed.split()[:4] == ["key", "label", "quality", "status"]
    qualities = [float(line.split()[3]) for line in printed.splitlines()[1:4]]
    assert qualities == sorted(qualities)
    words = shlex.split(then.removeprefix("then: "), comments=True)
    assert words[1:3] == ["-m", "pipelines.filter_dataset"]
    assert filter_dataset.run(words[3:]) == EXIT_OK


def test_one_record_in_one_unit_is_not_said_as_several(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    one = write_folder(tmp_path / "one", face_records(1))
    assert run(["--input", str(one), "--output", str(tmp_path / "out")], MeanScorerSource()) == EXIT_OK
    assert filter_dataset.run(["--quality", str(tmp_path / "out"), "--output", str(tmp_path / "f")]) == EXIT_OK
    said = capsys.readouterr().out
    assert "1 record in 1 unit:" in said
    assert "1 row: 1 kept" in said
    assert "planned 1 unit, 1 record" in caplog.text
    assert not re.search(r"\b1 (units|records|rows|images|files)\b", said + caplog.text)


def test_nothing_points_at_what_is_gone_when_the_process_ends(faces, capsys):
    assert run(["--input", str(faces), "--output", "memory://gone"], MeanScorerSource()) == EXIT_OK
    assert "next:" not in capsys.readouterr().out


def test_a_run_of_no_records_says_so(tmp_path, capsys):
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    command = ["--input", str(tmp_path / "none.parquet"), "--output", str(tmp_path / "out")]
    assert run(command, MeanScorerSource()) == EXIT_OK
    assert "no records" in capsys.readouterr().out


def test_a_number_that_is_none_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(["--input", "x", "--output", str(tmp_path), "--batch-size", "x"])
    assert "whole number" in capsys.readouterr().err


def test_a_table_without_an_image_column_is_refused_with_its_columns_named(tmp_path, caplog):
    pq.write_table(pa.table({"photo": ["text", "more"], "age": [1, 2]}), tmp_path / "faces.parquet")
    command = ["--input", str(tmp_path / "faces.parquet"), "--output", str(tmp_path / "out")]
    assert run(command, MeanScorerSource()) == EXIT_BAD_INPUT
    assert "faces.parquet" in caplog.text
    assert "photo" in caplog.text


def test_our_lines_are_seen_where_a_library_has_logged_before(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler()])
    monkeypatch.setattr(root, "level", logging.WARNING)
    set_up_logging()
    logging.getLogger("score_dataset").info("planned")
    assert capsys.readouterr().err == "INFO score_dataset: planned\n"


def test_a_full_disk_gets_a_remedy_although_a_failed_write_names_no_file():
    said = faults.sentence(OSError(errno.ENOSPC, "No space left on device"))
    assert said.startswith("No space left on device")
    assert "--resume" in said
