"""What --resume and --overwrite do with an output that a fault left behind."""

import json
import shutil

import pandas as pd
import pytest

from tests.faults.conftest import RECORDS, SHARDS, assert_nothing_left_over, quality_files, write_shard

JOB = "tests.faults.jobs:score"


@pytest.fixture
def own_shards(shards, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(shards, tmp_path / "in")


@pytest.fixture
def command(own_shards, tmp_path):
    return ["--input", str(own_shards), "--output", str(tmp_path / "out")]


def summary_of(output):
    return json.loads((output / "summary.json").read_text())


def test_a_unit_that_fails_for_good_is_named_the_others_finish_and_resume_does_only_it(
    own_shards, command, prepared, tmp_path
):
    shard, hidden = own_shards / "s-003.tar", tmp_path / "hidden"
    child = prepared.start("tests.faults.jobs:score_and_lose", str(shard), str(hidden), command)
    assert child.wait() == 3
    (failure,) = summary_of(tmp_path / "out")["failed_units"]
    assert (failure["unit"], failure["shard"]) == (3, str(shard))
    assert "FileNotFoundError" in failure["reason"]
    assert f"PROBLEM: unit 3 of {shard} failed: FileNotFoundError" in child.log.read_text()
    assert len(quality_files(tmp_path / "out")) == SHARDS - 1
    hidden.rename(shard)
    assert prepared.run(JOB, [*command, "--resume"]) == 0
    summary = summary_of(tmp_path / "out")
    assert (summary["records_this_run"], summary["records"]) == (RECORDS, SHARDS * RECORDS)
    assert_nothing_left_over(tmp_path / "out")


def test_a_shard_that_was_cut_short_and_is_mended_is_the_only_one_done_again(own_shards, command, prepared, tmp_path):
    shard = own_shards / "s-002.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2 + 100])
    assert prepared.run(JOB, command) == 3
    kept = quality_files(tmp_path / "out")
    shard.write_bytes(whole)
    assert prepared.run(JOB, [*command, "--resume"]) == 0
    assert summary_of(tmp_path / "out")["records_this_run"] == RECORDS
    table = pd.read_parquet(tmp_path / "out" / "quality")
    assert len(table) == SHARDS * RECORDS
    assert set(table.status) == {"scored"}
    now = quality_files(tmp_path / "out")
    assert len(now) == SHARDS
    assert len(now.items() & kept.items()) == SHARDS - 1


def test_a_finished_shard_that_changed_is_refused_by_name(own_shards, command, prepared, tmp_path):
    assert prepared.run(JOB, command) == 0
    write_shard(own_shards / "s-001.tar", 99, RECORDS)
    child = prepared.start(JOB, [*command, "--resume"])
    assert child.wait() == 2
    assert f"{own_shards / 's-001.tar'}: its content changed" in child.log.read_text()
    assert summary_of(tmp_path / "out")["complete"]


def test_an_input_that_was_added_or_removed_is_refused_by_name(own_shards, command, prepared):
    assert prepared.run(JOB, command) == 0
    (own_shards / "s-000.tar").rename(own_shards / "t-000.tar")
    child = prepared.start(JOB, [*command, "--resume"])
    assert child.wait() == 2
    assert "t-000.tar: not in the earlier run" in child.log.read_text()
    assert "s-000.tar: missing now" in child.log.read_text()


def test_resuming_a_complete_output_does_nothing_and_says_so(command, prepared, tmp_path):
    output = tmp_path / "out"
    assert prepared.run(JOB, command) == 0
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    child = prepared.start(JOB, [*command, "--resume"])
    assert child.wait() == 0
    assert "nothing to do" in child.log.read_text()
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("died", ["before the summary", "after the summary", "with a table file lost"])
def test_a_command_that_died_around_its_last_step_is_finished_by_resume(command, prepared, tmp_path, died):
    output = tmp_path / "out"
    assert prepared.run(JOB, command) == 0
    expected = quality_files(output)
    (output / "_tmp").mkdir()
    (output / "_tmp" / "fiqa-0123").write_bytes(b"half a file")
    (output / "_progress").mkdir()
    if died == "before the summary":
        (output / "summary.json").unlink()
    elif died == "with a table file lost":
        (output / "quality" / min(expected)).unlink()
    assert prepared.run(JOB, [*command, "--resume"]) == 0
    assert quality_files(output) == expected
    assert summary_of(output)["complete"]
    assert_nothing_left_over(output)


def test_overwrite_with_an_input_that_cannot_be_planned_leaves_the_earlier_table(command, prepared, tmp_path):
    output = tmp_path / "out"
    assert prepared.run(JOB, command) == 0
    expected = quality_files(output)
    wrong = ["--input", str(tmp_path / "no-such-*.tar"), "--output", str(output), "--overwrite"]
    assert prepared.run(JOB, wrong) == 2
    assert quality_files(output) == expected
    assert prepared.run(JOB, [*command, "--resume"]) == 0


def test_overwrite_starts_afresh(own_shards, command, prepared, tmp_path):
    assert prepared.run(JOB, command) == 0
    (own_shards / "s-000.tar").unlink()
    assert prepared.run(JOB, [*command, "--overwrite"]) == 0
    assert len(quality_files(tmp_path / "out")) == SHARDS - 1
    assert_nothing_left_over(tmp_path / "out")


def test_a_command_refused_while_planning_leaves_no_trace_that_stands_in_the_way(command, prepared, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    wrong = ["--input", str(folder), str(tmp_path / "typo.tar"), "--output", str(tmp_path / "out")]
    assert prepared.run(JOB, wrong) == 2
    assert prepared.run(JOB, command) == 0
    assert prepared.run(JOB, ["--input", str(tmp_path / "typo.tar"), "--output", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()
