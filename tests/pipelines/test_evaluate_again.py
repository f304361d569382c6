"""evaluate_quality on an output that it wrote before: resume, overwrite, lock, and a kill in the middle."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core import storage
from fiqa_core.runs.lock import hold_output
from pipelines.evaluate_quality import run


@pytest.fixture
def inputs(tmp_path) -> Path:
    keys = [f"p{person}/{image}" for person in range(4) for image in range(2)]
    vectors = np.random.default_rng(3).normal(size=(8, 4)).tolist()
    pq.write_table(pa.table({"key": keys, "embedding": vectors}), tmp_path / "fr.parquet")
    (tmp_path / "q.txt").write_text("".join(f"{key} {number / 8}\n" for number, key in enumerate(keys)))
    pairs = [f"{a} {b} {int(a[:2] == b[:2])}\n" for i, a in enumerate(keys) for b in keys[i + 1 :]]
    (tmp_path / "pairs.txt").write_text("".join(pairs))
    return tmp_path


def flags(inputs: Path, *more: str) -> list[str]:
    named = ["--quality", f"q={inputs / 'q.txt'}", "--embeddings", f"fr={inputs / 'fr.parquet'}"]
    named += ["--pairs", f"set={inputs / 'pairs.txt'}", "--fmr", "0.1", "--no-plots", "--random-seeds", "1"]
    return [*named, "--output", str(inputs / "out"), *more]


def files(inputs: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (inputs / "out").iterdir()}


def killed_at(inputs: Path, publication: int, *more: str) -> None:
    """Evaluate in a child that is killed (-9) just before it publishes a file, counted from 1."""
    child = os.fork()
    if child == 0:
        count = 0
        publish = storage.publish

        def counted(path: Path, url: str) -> None:
            nonlocal count
            count += 1
            if count == publication:
                os.kill(os.getpid(), signal.SIGKILL)
            publish(path, url)

        storage.publishing.publish = counted
        run(flags(inputs, *more))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_resume_of_a_complete_evaluation_says_so_and_touches_nothing(inputs, caplog):
    caplog.set_level("INFO")
    assert run(flags(inputs)) == 0
    before = files(inputs)
    assert run(flags(inputs, "--resume")) == 0
    assert "is complete already: nothing to do" in caplog.text
    assert files(inputs) == before


def test_resume_with_other_options_or_inputs_names_what_was_then_and_is_now(inputs, caplog):
    assert run(flags(inputs)) == 0
    before = files(inputs)
    assert run(flags(inputs, "--resume", "--seed", "5", "--dissimilarity", "euclidean")) == 2
    assert (
        "the earlier run was another one, so --resume would mix two:\n  dissimilarity: arccos then, euclid"
        in caplog.text
    )
    assert "  seed: 0 then, 5 now\nUse the earlier settings, or --overwrite, or another --output." in caplog.text
    (inputs / "q.txt").write_text((inputs / "q.txt").read_text().replace("0.5", "0.05"))
    assert run(flags(inputs, "--resume")) == 2
    assert f"input {inputs / 'q.txt'}: its content changed" in caplog.text
    assert files(inputs) == before
    assert run(flags(inputs, "--overwrite")) == 0
    assert files(inputs)["auc.csv"] != before["auc.csv"]


def test_a_file_that_is_gone_or_damaged_since_is_made_again(inputs):
    assert run(flags(inputs)) == 0
    whole = {name: content for name, (content, _) in files(inputs).items()}
    (inputs / "out" / "auc.csv").unlink()
    (inputs / "out" / "edc.parquet").write_bytes(whole["edc.parquet"][:-9])
    assert run(flags(inputs, "--resume")) == 0
    assert {name: content for name, (content, _) in files(inputs).items()} == whole


@pytest.mark.parametrize("publication", [1, 2, 3, 4])
def test_killed_at_any_file_it_does_not_look_whole_and_resume_ends_as_the_undisturbed(inputs, publication):
    killed_at(inputs, publication)
    account = inputs / "out" / "evaluation.json"
    assert not account.exists() or json.loads(account.read_text())["complete"] is False
    if account.exists():
        assert run(flags(inputs)) == 2  # neither flag
    assert run(flags(inputs, "--resume")) == 0
    resumed = {name: content for name, (content, _) in files(inputs).items()}
    assert set(resumed) == {"auc.csv", "edc.parquet", "evaluation.json"}
    assert run(flags(inputs, "--overwrite")) == 0
    assert {name: content for name, (content, _) in files(inputs).items()} == resumed


def test_another_command_on_the_same_output_is_refused(inputs, caplog):
    with hold_output(str(inputs / "out")):
        assert run(flags(inputs, "--resume")) == 2
    assert "is at work on this output" in caplog.text
    assert not (inputs / "out").exists()


def test_somebody_elses_temporary_is_left_and_named(inputs, caplog):
    assert run(flags(inputs)) == 0
    (inputs / "out" / "_tmp").mkdir()
    (inputs / "out" / "_tmp" / "draft").write_text("mine")
    for flag in ("--resume", "--overwrite"):
        assert run(flags(inputs, flag)) == 2
    assert "only what an evaluation writes is ever removed, but there is also '_tmp/draft'" in caplog.text
    assert (inputs / "out" / "_tmp" / "draft").read_text() == "mine"
