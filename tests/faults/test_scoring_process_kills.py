"""The scoring process, the driver and the workers killed with -9: the table is byte for byte the undisturbed one."""

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import SHARDS, assert_nothing_left_over, quality_files
from tests.faults.moments import finished_units, kill_worker, random_moment
from tests.faults.prepared import Child, wait_for

KILLS = int(os.environ.get("FIQA_KILLS") or 8)  # what a run of the suite has time for
PAUSE = 0.01
JOB = "tests.faults.jobs:score_served"


def scoring_processes(parent: int | None = None) -> list[int]:
    """Scoring processes that a process started, or all of this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            started_by = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if b"fiqa_core.scoring.service" in command and parent in (None, started_by):
            found.append(int(place.name))
    return found


def kill_scoring_process(child: Child) -> bool:
    """Kill the scoring process that a command started, if there is one by now."""
    for process in scoring_processes(child.pid):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def test_kills_of_scoring_process_and_driver_give_the_undisturbed_table(shards, prepared, tmp_path):
    seed = int(os.environ.get("FIQA_KILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FIQA_KILL_SEED={seed}")
    chance = random.Random(seed)
    command = ["--input", str(shards), "--output"]
    started = time.monotonic()
    assert prepared.run(JOB, PAUSE, [*command, str(tmp_path / "undisturbed")]) == 0
    seconds = time.monotonic() - started
    expected = quality_files(tmp_path / "undisturbed")
    kills = {"driver": 0, "scoring process": 0}
    for number in itertools.count():
        if sum(kills.values()) >= KILLS and min(kills.values()) > 0:
            break
        output = tmp_path / f"killed-{number}"
        arguments = [*command, str(output), "--resume"]
        child = prepared.start(JOB, PAUSE, arguments)
        random_moment(child, output, chance, seconds, SHARDS)
        if chance.random() < 0.7:
            for _ in range(chance.randint(1, 3)):
                kills["scoring process"] += child.running() and kill_scoring_process(child)
                time.sleep(chance.random() * 0.5)
        elif child.running():
            child.kill()
            kills["driver"] += child.wait() == -9
            assert prepared.run(JOB, PAUSE, arguments) == 0, f"seed {seed}"
            assert quality_files(output) == expected, f"seed {seed}"
            assert_nothing_left_over(output)
            continue
        assert child.wait() == 0, f"seed {seed}: {child.log.read_text()}"
        assert quality_files(output) == expected, f"seed {seed}"
        assert_nothing_left_over(output)


def test_a_killed_worker_leaves_no_scoring_process_and_resume_finishes(shards, prepared, tmp_path):
    command = ["--input", str(shards), "--output", str(tmp_path / "out")]
    child = prepared.start(JOB, 0.05, [*command, "--workers", "2"])
    wait_for(lambda: finished_units(tmp_path / "out") > 0 or not child.running())
    assert kill_worker(child, random.Random(0))
    wait_for(lambda: not child.running(), seconds=150)
    assert child.wait() == 2
    wait_for(lambda: not scoring_processes(), seconds=60)
    assert prepared.run(JOB, PAUSE, [*command, "--resume"]) == 0
    assert prepared.run(JOB, PAUSE, [*command[:3], str(tmp_path / "undisturbed")]) == 0
    assert quality_files(tmp_path / "out") == quality_files(tmp_path / "undisturbed")


@pytest.mark.parametrize("victims", ["scoring process", "driver and workers"])
def test_two_workers_and_their_scoring_process(shards, prepared, tmp_path, victims):
    command = ["--input", str(shards), "--output", str(tmp_path / "out"), "--workers", "2"]
    child = prepared.start(JOB, 0.05, command)
    wait_for(lambda: finished_units(tmp_path / "out") > 0 or not child.running())
    if victims == "scoring process":
        assert kill_scoring_process(child)
        assert child.wait() == 0, child.log.read_text()
        assert "scoring it again" in child.log.read_text()
        assert prepared.run(JOB, PAUSE, [*command[:3], str(tmp_path / "undisturbed")]) == 0
        assert quality_files(tmp_path / "out") == quality_files(tmp_path / "undisturbed")
    else:
        child.kill_group()
        child.wait()
    wait_for(lambda: not scoring_processes(), seconds=60)
