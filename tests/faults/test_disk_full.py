"""A disk that fills up: the unit that did not fit is named, the others finish, resume does that unit only."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import assert_nothing_left_over, quality_files, write_shard

JOB = "tests.faults.jobs:score"
SMALL, LARGE = 20, 3000  # records: quality files of some 6 kB and some 180 kB
LEFT_FREE = 100_000


@pytest.fixture(scope="module")
def uneven_shards(tmp_path_factory) -> Path:
    """Two small shards and between them a large one, of noise that does not compress."""
    folder = tmp_path_factory.mktemp("uneven")
    for number, records in enumerate((SMALL, LARGE, SMALL)):
        write_shard(folder / f"s-{number}.tar", number, records, noise=np.random.default_rng(number))
    return folder


@pytest.fixture(scope="module")
def undisturbed(uneven_shards, prepared, tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    assert prepared.run(JOB, ["--input", str(uneven_shards), "--output", str(output)]) == 0
    return quality_files(output)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; the test with a limit of file sizes stands in")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all the space but `leave` bytes."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(disk).free - leave))
    return ballast


def test_a_disk_that_fills_up_costs_the_unit_that_did_not_fit_and_resume_does_only_that(
    uneven_shards, undisturbed, small_disk, prepared
):
    output = small_disk / "out"
    ballast = fill(small_disk, LEFT_FREE)
    command = ["--input", str(uneven_shards), "--output", str(output)]
    child = prepared.start(JOB, command)
    assert child.wait() == 3
    failed_one = next(name for name in undisturbed if "000001" in name)
    assert quality_files(output) == {name: data for name, data in undisturbed.items() if name != failed_one}
    (problem,) = [line for line in child.log.read_text().splitlines() if line.startswith("PROBLEM")]
    assert "s-1.tar failed" in problem
    assert "No space left" in problem
    ballast.unlink()
    assert prepared.run(JOB, [*command, "--resume"]) == 0
    assert json.loads((output / "summary.json").read_text())["records_this_run"] == LARGE
    assert quality_files(output) == undisturbed
    assert_nothing_left_over(output)


def test_a_disk_that_is_full_from_the_start_is_an_error_and_the_same_command_works_later(
    uneven_shards, undisturbed, small_disk, prepared
):
    output = small_disk / "out"
    ballast = fill(small_disk, 0)
    command = ["--input", str(uneven_shards), "--output", str(output)]
    child = prepared.start(JOB, command)
    assert child.wait() == 2
    assert "No space left" in child.log.read_text()
    ballast.unlink()
    assert prepared.run(JOB, command) == 0
    assert quality_files(output) == undisturbed


def test_a_unit_whose_file_may_not_grow_fails_by_name_and_the_others_finish(
    uneven_shards, undisturbed, prepared, tmp_path
):
    command = ["--input", str(uneven_shards), "--output", str(tmp_path / "out")]
    child = prepared.start("tests.faults.jobs:score_with_small_files", LEFT_FREE, command)
    assert child.wait() == 3
    assert "s-1.tar failed" in child.log.read_text()
    assert len(quality_files(tmp_path / "out")) == 2
    assert prepared.run(JOB, [*command, "--resume"]) == 0
    assert quality_files(tmp_path / "out") == undisturbed
    assert_nothing_left_over(tmp_path / "out")
