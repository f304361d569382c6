"""Two at the same work: a unit executed twice at once, two commands on one output, a sweep under a live worker."""

import pyarrow.parquet as pq

from fiqa_core import storage
from tests.faults.conftest import RECORDS, assert_nothing_left_over, quality_files
from tests.faults.prepared import wait_for

UNIT = "tests.faults.jobs:score_one_unit"


def start_units(prepared, tmp_path, shard, output, count):
    """Workers that all stand before the same unit, and are let go together."""
    children = [prepared.start(UNIT, str(shard), str(output), str(tmp_path / "go")) for _ in range(count)]
    wait_for(lambda: len(list(tmp_path.glob("go-*"))) == count)
    (tmp_path / "go").touch()
    return children


def test_a_unit_executed_twice_at_once_gives_one_whole_file_with_a_row_a_record(shards, prepared, tmp_path):
    shard, output = shards / "s-000.tar", tmp_path / "out"
    children = start_units(prepared, tmp_path, shard, output, count=2)
    # Each exits with 0 only if it scored the unit itself, so they really were at it at once.
    assert [child.wait() for child in children] == [0, 0]
    ((name, twice),) = quality_files(output).items()
    assert pq.read_table(output / "quality" / name)["index"].to_pylist() == list(range(RECORDS))
    for path in tmp_path.glob("go*"):
        path.unlink()
    (alone,) = start_units(prepared, tmp_path, shard, tmp_path / "alone", count=1)
    assert alone.wait() == 0
    assert quality_files(tmp_path / "alone") == {name: twice}
    assert not list((output / "_tmp").iterdir())


def test_a_worker_whose_temporary_is_swept_away_does_its_unit_again(shards, prepared, tmp_path):
    output = tmp_path / "out"
    (orphan,) = start_units(prepared, tmp_path, shards / "s-000.tar", output, count=1)
    wait_for(lambda: list(output.glob("_tmp/*")))
    assert storage.sweep(str(output)) == 1
    assert orphan.wait() == 0
    ((name, _),) = quality_files(output).items()
    assert pq.read_table(output / "quality" / name)["index"].to_pylist() == list(range(RECORDS))


def test_a_second_command_on_the_same_output_is_refused_and_harms_nothing(shards, prepared, tmp_path):
    output = tmp_path / "out"
    command = ["--input", str(shards), "--output", str(output)]
    first = prepared.start("tests.faults.jobs:score_slowly", 0.03, command)
    wait_for(lambda: list(output.glob("_tmp/*")))
    for again in (["--resume"], ["--overwrite"], []):
        second = prepared.start("tests.faults.jobs:score", [*command, *again])
        assert second.wait() == 2
        assert f"process {first.pid}" in second.log.read_text()
    assert first.wait() == 0
    assert_nothing_left_over(output)


def test_the_lock_of_a_killed_command_is_no_lock(shards, prepared, tmp_path):
    output = tmp_path / "out"
    command = ["--input", str(shards), "--output", str(output)]
    first = prepared.start("tests.faults.jobs:score_slowly", 0.03, command)
    wait_for(lambda: list(output.glob("_tmp/*")))
    first.kill()
    assert first.wait() == -9
    assert (output / "_lock").exists()
    assert prepared.run("tests.faults.jobs:score", [*command, "--resume"]) == 0
    assert_nothing_left_over(output)
