"""Killed with -9 at random moments and resumed: the table is byte for byte the undisturbed one."""

import json
import os
import random
import shutil
import time

import pytest

from tests.faults.conftest import RECORDS, SHARDS, assert_nothing_left_over, quality_files
from tests.faults.moments import finished_units, kill_worker, random_moment
from tests.faults.prepared import wait_for

KILLS = 20
PAUSE = 0.01  # seconds a batch: a run of three quarters of a second, most of it scoring


@pytest.fixture
def seed() -> int:
    """Of the moments; FIQA_KILL_SEED repeats a run. The report of a failure shows what was printed."""
    value = int(os.environ.get("FIQA_KILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FIQA_KILL_SEED={value}")
    return value


def test_a_command_killed_twenty_times_at_random_moments_gives_the_undisturbed_table(shards, prepared, tmp_path, seed):
    chance = random.Random(seed)
    started = time.monotonic()
    job = "tests.faults.jobs:score_slowly"
    command = ["--input", str(shards), "--output"]
    assert prepared.run(job, PAUSE, [*command, str(tmp_path / "undisturbed")]) == 0
    seconds = time.monotonic() - started
    expected = quality_files(tmp_path / "undisturbed")
    assert len(expected) == SHARDS
    kills, in_the_middle = 0, 0
    while kills < KILLS:
        output = tmp_path / f"killed-{kills}"
        arguments = [*command, str(output), "--resume"]
        for _ in range(chance.randint(1, 3)):
            child = prepared.start(job, PAUSE, arguments)
            random_moment(child, output, chance, seconds, SHARDS)
            if child.running():
                child.kill()
            if child.wait() == -9:
                kills += 1
                in_the_middle += 0 < finished_units(output) < SHARDS
        assert prepared.run(job, PAUSE, arguments) == 0, f"seed {seed}, after {kills} kills"
        assert quality_files(output) == expected, f"seed {seed}, after {kills} kills"
        assert_nothing_left_over(output)
        summary = json.loads((output / "summary.json").read_text())
        assert summary["complete"]
        assert summary["status"] == {"scored": SHARDS * RECORDS}
        shutil.rmtree(output)
    assert in_the_middle >= KILLS // 5


def test_a_worker_process_killed_in_mid_unit_fails_the_job_and_resume_finishes_it(shards, prepared, tmp_path):
    assert prepared.run("tests.faults.jobs:score", ["--input", str(shards), "--output", str(tmp_path / "a")]) == 0
    job = "tests.faults.jobs:score_and_be_killed"
    command = ["--input", str(shards), "--output", str(tmp_path / "b")]
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    started = time.monotonic()
    child = prepared.start(job, str(tmp_path / "marker"), [*command, *processes])
    wait_for(lambda: not child.running(), seconds=150)
    assert child.wait() == 2
    assert time.monotonic() - started < 150
    assert "the job failed" in child.log.read_text()
    assert (tmp_path / "marker").exists()
    assert not (tmp_path / "b" / "summary.json").exists()
    assert prepared.run(job, str(tmp_path / "marker"), [*command, "--resume"]) == 0
    assert quality_files(tmp_path / "b") == quality_files(tmp_path / "a")
    assert_nothing_left_over(tmp_path / "b")


def test_a_worker_process_killed_before_it_has_called_home_does_not_hang_the_job(shards, prepared, tmp_path):
    command = ["--input", str(shards), "--output", str(tmp_path / "out")]
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    child = prepared.start("tests.faults.jobs:score", [*command, *processes])
    # A worker needs seconds to import before it can connect; it is killed as soon as there is one.
    wait_for(lambda: kill_worker(child, random.Random(0)) or not child.running())
    wait_for(lambda: not child.running(), seconds=150)
    assert child.wait() == 2
    assert "a worker process died" in child.log.read_text()
    assert prepared.run("tests.faults.jobs:score", [*command, "--resume"]) == 0
    assert_nothing_left_over(tmp_path / "out")
