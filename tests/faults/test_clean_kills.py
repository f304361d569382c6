"""clean_dataset, killed (-9) in every stage: the same command goes on, and the results are those of a whole run."""

from pathlib import Path

import pandas as pd

from tests.faults.conftest import assert_nothing_left_over
from tests.makers.planted import planted_faces, recogniser

JOB, KILLED = "tests.faults.jobs:clean", "tests.faults.jobs:clean_and_be_killed"
# Where each stage puts its last file in place, in order; the images: their first shard.
MOMENTS = (
    "scores/summary.json",
    "embeddings/summary.json",
    "decided/summary.json",
    "report.html",
    "subset/data/shard-000000.tar",
)


def results(output: Path) -> dict[str, bytes]:
    # Decisions and index name the run that they belong to, and its tables lie in another folder.
    parts = ("scores/quality", "embeddings/quality", "subset/data", "dropped")
    files = [path for part in parts for path in sorted((output / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def test_a_run_that_is_killed_in_every_stage_goes_on_to_the_results_of_a_whole_one(prepared, tmp_path):
    shard, network = planted_faces(tmp_path), recogniser(tmp_path)

    def words(output: Path) -> list[str]:
        more = ["--embedding-model", str(network), "--write-dropped", "--yes"]
        return ["--input", str(shard), "--output", str(output), *more]

    whole, output = tmp_path / "whole", tmp_path / "out"
    assert prepared.run(JOB, words(whole)) == 0
    for moment in MOMENTS:
        assert prepared.run(KILLED, moment, words(output)) == -9, moment
    assert prepared.run(JOB, words(output)) == 0
    assert (output / "report.html").exists()
    assert results(output) == results(whole)
    ours, theirs = (pd.read_parquet(folder / "decided" / "decisions") for folder in (output, whole))
    pd.testing.assert_frame_equal(ours, theirs)
    for folder in (output / "scores", output / "embeddings"):
        assert_nothing_left_over(folder)
    names = {path.name for path in output.rglob("*")}
    assert not names & {"_tmp", "_work", "_progress", "_lock", "_findings"}
    assert not any(name.startswith(".fiqa-") for name in names)
