"""The command's own manners: exit codes, messages, and outputs left alone by a run that never began."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.command_line import set_up_logging
from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, write_folder
from tests.makers.stand_in import write_checkpoint

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
    command = ["--input", str(faces), "--output", str(tmp_path / "out"), "--checkpoint", str(path)]
    assert run(command) == EXIT_BAD_INPUT
    assert "no quality head" in caplog.text
    assert not (tmp_path / "out").exists()


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
