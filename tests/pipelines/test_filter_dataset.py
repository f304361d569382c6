"""The filter_dataset command as a user calls it: on a scored folder, on damage, killed, resumed, and twice."""

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fiqa_core.curation.decisions.decision_files import DecisionFiles
from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.storage import filesystem
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from pipelines.score_dataset import run as score_dataset
from schemas.decisions import SCHEMA
from tests.fakes import MeanScorerSource
from tests.faults.prepared import Prepared, wait_for
from tests.fiqa_core.curation.tables import frame, write_labels, write_quality

JOB = "pipelines.filter_dataset:run"


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """A scored folder: 4 identities of 6 grey images, one image twice, one image damaged."""
    root = tmp_path_factory.mktemp("faces")
    for number in range(24):
        place = root / "in" / f"id{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 10 * number, np.uint8)).save(place / f"{number:02}.png")
    shutil.copy(root / "in" / "id3" / "23.png", root / "in" / "id0" / "copy.png")
    (root / "in" / "id1" / "=cmd|' '!A0.png").write_bytes(b"not an image")
    arguments = ["--input", str(root / "in"), "--output", str(root / "out"), "--unit-size", "7"]
    assert score_dataset(arguments, MeanScorerSource()) == 0
    return root / "out"


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A table of 20 files, so that a command can be killed between them."""
    rng = np.random.default_rng(5)
    rows = frame(rng.random(2000), rng.integers(0, 300, 2000).astype(str))
    return write_quality(tmp_path_factory.mktemp("large"), rows, per_file=100)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with Prepared(tmp_path_factory.mktemp("logs")) as process:
        yield process


def files_of(output: Path) -> dict[str, bytes]:
    """Name and content of every file of a run."""
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


def command(quality: Path, output: object, *more: object) -> list[str]:
    return ["--quality", str(quality), "--output", str(output), *map(str, more)]


def test_a_scored_folder_becomes_decisions_that_pandas_and_duckdb_read(scored, tmp_path, capsys):
    out = tmp_path / "out"
    policy = tmp_path / "p.yaml"
    policy.write_text("duplicates: {exact: all}\nquality: {min: 0.2, keep_at_least: 2}\n")
    assert run(command(scored, out, "--policy", policy, "--best-per-identity", 4, "--weights", "quantile")) == 0
    decisions = pd.read_parquet(out / "decisions")
    quality = pd.read_parquet(scored / "quality")
    assert decisions.key.tolist() == quality.key.tolist()
    assert decisions.sha256.tolist() == quality.sha256.tolist()
    reasons = decisions.set_index("key").reason
    assert reasons["id0/copy.png"] == "duplicate_exact" or reasons["id3/23.png"] == "duplicate_exact"
    assert reasons["id1/=cmd|' '!A0.png"] == "not_scored"
    kept = decisions[decisions.keep]
    assert kept.groupby("label").size().max() == 4
    assert ((decisions.weight > 0) <= decisions.keep).all()
    scored_rows = decisions[decisions.quality.notna()]
    share = [float((scored_rows.quality < q).mean()) for q in scored_rows.quality]
    np.testing.assert_allclose(scored_rows.quality_quantile, share, rtol=1e-6)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["kept"] + sum(summary["dropped"].values()) == summary["rows"] == len(quality)
    assert summary["kept"] == len(kept) == summary["after"]["images"]
    assert summary["dropped"]["duplicate_exact"] == (decisions.reason == "duplicate_exact").sum()
    assert duckdb.sql(f"SELECT count(*) FROM '{out}/manifest/*.parquet'").fetchall() == [(len(kept),)]
    assert pd.read_parquet(out / "manifest").key.tolist() == kept.key.tolist()
    assert pq.read_schema(out / "decisions" / "part-000000.parquet").equals(SCHEMA)
    assert read_policy(str(out / "policy.yaml")).size.best_per_identity == 4
    shown = capsys.readouterr().out
    assert f"{len(kept)} kept" in shown
    assert "next: " in shown


def test_removed_csv_has_every_dropped_row_and_no_formula(scored, tmp_path):
    assert run(command(scored, tmp_path / "out", "--exact-duplicates", "all", "--drop-worst", 0.2)) == 0
    text = (tmp_path / "out" / "removed.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    decisions = pd.read_parquet(tmp_path / "out" / "decisions")
    dropped = decisions[~decisions.keep]
    assert [row["reason"] for row in rows] == dropped.reason.tolist()
    assert [row["key"].lstrip("'") for row in rows] == dropped.key.tolist()
    by_reason = {row["reason"]: row for row in rows}
    assert by_reason["not_scored"]["explanation"] == "Not scored: not_an_image"
    assert {by_reason["duplicate_exact"]["duplicate_of"], by_reason["duplicate_exact"]["key"]} == {
        "id0/copy.png",
        "id3/23.png",
    }
    assert "worst 0.2 of 24 rows" in by_reason["below_global_quantile"]["explanation"]


def test_names_that_a_spreadsheet_would_run_are_quoted(tmp_path):
    rows = frame([0.1] * 4, ["=1+1", "-12", "@x", "\tb"])
    write_quality(tmp_path / "q", rows, prefix="+cmd|")
    assert run(command(tmp_path / "q", tmp_path / "out", "--min-quality", 0.5)) == 0
    table = pd.read_csv(tmp_path / "out" / "removed.csv", dtype=str)
    assert table.label.tolist() == ["'=1+1", "-12", "'@x", "'\tb"]
    assert all(key.startswith("'+cmd") for key in table.key)


def test_against_drops_what_is_there_too_and_names_it(scored, tmp_path):
    other = tmp_path / "other"
    (other / "in").mkdir(parents=True)
    shutil.copy(next((scored.parent / "in").glob("id2/02.png")), other / "in" / "probe.png")
    assert score_dataset(["--input", str(other / "in"), "--output", str(other / "out")], MeanScorerSource()) == 0
    assert run(command(scored, tmp_path / "out", "--against", other / "out")) == 0
    decisions = pd.read_parquet(tmp_path / "out" / "decisions").set_index("key")
    assert decisions.index[decisions.reason == "overlap_exact"].tolist() == ["id2/02.png"]
    assert decisions.duplicate_of["id2/02.png"] == "probe.png"
    assert decisions.duplicate_of_shard["id2/02.png"].endswith("other/in")


def test_findings_are_in_the_table_and_wrong_labels_go(tmp_path):
    rows = frame([0.5, 0.6, 0.7], ["a", "a", "b"], verdicts=["wrong_label", "agrees", None])
    write_quality(tmp_path / "q", rows)
    findings = write_labels(tmp_path / "f", rows)
    assert run(command(tmp_path / "q", tmp_path / "out", "--findings", findings, "--drop-wrong-labels")) == 0
    table = pd.read_parquet(tmp_path / "out" / "decisions")
    assert table.reason.astype(object).fillna("").tolist() == ["wrong_label", "", ""]
    assert table.label_verdict.astype(object).fillna("").tolist() == ["wrong_label", "agrees", ""]
    assert table.nearest_label.fillna("").tolist() == ["b", "b", ""]
    assert table.centre_cosine.fillna(-1).tolist() == [0.25, 0.25, -1]


def test_findings_of_another_table_and_policies_that_need_some_are_refused(tmp_path, caplog):
    write_quality(tmp_path / "q", frame([0.5]))
    findings = write_labels(tmp_path / "f", frame([0.5] * 3, verdicts=["agrees"] * 3))
    assert run(command(tmp_path / "q", tmp_path / "o", "--findings", findings)) == EXIT_BAD_INPUT
    assert "made for other --quality" in caplog.text
    assert run(command(tmp_path / "q", tmp_path / "p", "--near-duplicates", "all")) == EXIT_BAD_INPUT
    assert "embed_dataset" in caplog.text
    assert not (tmp_path / "p").exists()


def test_weights_and_tiers_can_stand_in_for_deletion(tmp_path):
    write_quality(tmp_path / "q", frame([0.0, 0.25, 0.5, 0.75, 1.0]))
    options = ["--min-quality", 0.3, "--quality-action", "weight", "--found-weight", 0.5, "--weights", "linear"]
    options += ["--weight-low", 0, "--weight-high", 1, "--weight-floor", 0.2]
    assert run(command(tmp_path / "q", tmp_path / "out", *options)) == 0
    table = pd.read_parquet(tmp_path / "out" / "decisions")
    assert table.keep.all()
    np.testing.assert_allclose(table.weight, [0.1, 0.2, 0.6, 0.8, 1.0], rtol=1e-6)
    assert table.tier.tolist() == ["E", "D", "C", "B", "A"]


@pytest.mark.parametrize(
    ("qualities", "kept"), [([], 0), ([None, None], 0), ([0.5], 1)], ids=["no row", "no scored row", "one image"]
)
def test_the_smallest_tables_end_well(tmp_path, qualities, kept, capsys):
    write_quality(tmp_path / "q", frame(qualities))
    options = ["--drop-worst", 0.5, "--exact-duplicates", "all", "--weights", "quantile", "--max-identities", 1]
    assert run(command(tmp_path / "q", tmp_path / "out", *options)) == 0
    assert len(pd.read_parquet(tmp_path / "out" / "manifest")) == kept
    assert len(pd.read_parquet(tmp_path / "out" / "decisions")) == len(qualities)
    assert f"{kept} kept" in capsys.readouterr().out


def test_a_damaged_quality_file_is_named_and_nothing_looks_finished(tmp_path, caplog):
    write_quality(tmp_path / "q", frame(np.random.default_rng(0).random(3000)), per_file=1000)
    damaged = sorted((tmp_path / "q").iterdir())[1]
    data = bytearray(damaged.read_bytes())
    data[200:12_000] = bytes(11_800)
    damaged.write_bytes(bytes(data))
    assert run(command(tmp_path / "q", tmp_path / "out")) == EXIT_BAD_INPUT
    assert damaged.name in caplog.text
    assert not (tmp_path / "out" / "summary.json").exists()
    damaged.write_bytes(b"PAR1")
    assert run(command(tmp_path / "q", tmp_path / "out2")) == EXIT_BAD_INPUT
    assert not (tmp_path / "out2").exists()


def test_a_row_without_a_place_is_refused_by_the_name_of_its_file(tmp_path, caplog):
    quality = write_quality(tmp_path / "quality", frame([0.5, 0.6]))
    (file,) = quality.iterdir()
    table = pd.read_parquet(file)
    table["index"] = table["index"].astype("Int64").where(table.key == "k0")
    table.to_parquet(file)
    assert run(command(quality, tmp_path / "out")) == EXIT_BAD_INPUT
    assert f"{file.name}: the column 'index' holds nulls" in caplog.text
    assert not (tmp_path / "out" / "summary.json").exists()


def test_the_account_is_printed_before_anything_of_it_is_written(scored, tmp_path, capsys, monkeypatch):
    def fails(*_: object) -> int:
        raise OSError("the disk is gone")

    monkeypatch.setattr(DecisionFiles, "write", fails)
    assert run(command(scored, tmp_path / "out", "--drop-worst", 0.3)) == EXIT_BAD_INPUT
    said = capsys.readouterr().out
    assert "below_global_quantile" in said
    assert "next:" not in said


def test_a_dry_run_prints_the_same_and_writes_nothing(scored, tmp_path, capsys):
    assert run(command(scored, tmp_path / "out", "--dry-run", "--drop-worst", 0.3)) == 0
    dry = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert run(command(scored, tmp_path / "out", "--drop-worst", 0.3)) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == dry.splitlines()[:-1]


def test_a_second_run_is_refused_resumed_or_overwritten_and_foreign_files_stay(scored, tmp_path, caplog):
    out = tmp_path / "out"
    assert run(command(scored, out, "--min-quality", 0.2)) == 0
    before = files_of(out)
    assert run(command(scored, out, "--min-quality", 0.2)) == EXIT_BAD_INPUT
    assert "--resume" in caplog.text
    assert run(command(scored, out, "--resume", "--min-quality", 0.5)) == EXIT_BAD_INPUT
    assert "quality: min: 0.2 then, 0.5 now" in caplog.text
    assert run(command(scored, out, "--resume", "--min-quality", 0.2)) == 0
    assert files_of(out) == before
    (out / "decisions" / "notes.txt").write_text("mine")
    assert run(command(scored, out, "--overwrite", "--min-quality", 0.5)) == EXIT_BAD_INPUT
    assert "notes.txt" in caplog.text
    (out / "decisions" / "notes.txt").unlink()
    assert run(command(scored, out, "--overwrite", "--min-quality", 0.5)) == 0
    assert files_of(out) != before
    assert run(command(scored, scored, "--overwrite")) == EXIT_BAD_INPUT
    assert run(command(scored, out, "--min-qualty", 1)) == EXIT_BAD_INPUT
    assert "Did you mean --min-quality" in caplog.text


def test_the_same_rows_give_the_same_bytes_with_any_number_of_threads(large, tmp_path):
    options = ["--drop-worst", 0.1, "--max-identities", 100, "--exact-duplicates", "all"]
    for threads in (1, 3):
        assert run(command(large, tmp_path / str(threads), "--threads", threads, *options)) == 0
    assert files_of(tmp_path / "1") == files_of(tmp_path / "3")


def test_killed_and_resumed_equals_undisturbed(large, prepared, tmp_path):
    options = ["--drop-worst-of-identity", 0.2, "--shard-size", 700]
    assert prepared.run(JOB, command(large, tmp_path / "a", *options)) == 0
    for number, finished in enumerate((0, 7)):
        out = tmp_path / f"b{number}"
        child = prepared.start(JOB, command(large, out, *options))
        wait_for(lambda out=out, n=finished: len(list(out.glob("decisions/*"))) >= n and (out / "run.json").exists())
        child.kill()
        child.wait()
        assert not (out / "summary.json").exists()
        assert prepared.run(JOB, command(large, out, "--resume", *options)) == 0
        assert files_of(out) == files_of(tmp_path / "a")


def test_a_full_disk_is_an_error_and_resume_finishes(large, prepared, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        ballast = place / "ballast"
        ballast.write_bytes(b"x" * (shutil.disk_usage(place).free - 100_000))
        options = ["--min-quality", 0.5]
        child = prepared.start(JOB, command(large, place / "out", *options))
        assert child.wait() == 2
        assert "No space left" in child.log.read_text()
        assert not (place / "out" / "summary.json").exists()
        ballast.unlink()
        assert prepared.run(JOB, command(large, place / "out", "--resume", *options)) == 0
        assert prepared.run(JOB, command(large, tmp_path / "whole", *options)) == 0
        assert files_of(place / "out") == files_of(tmp_path / "whole")
    finally:
        subprocess.run(["umount", place], check=True)


def test_tables_and_outputs_on_another_store_are_read_and_written_there(tmp_path):
    local = write_quality(tmp_path / "q", frame(np.random.default_rng(1).random(20)), per_file=7)
    fs, _ = filesystem("memory://curation/q")
    for path in local.iterdir():
        fs.pipe_file(f"/curation/q/{path.name}", path.read_bytes())
    assert run(command("memory://curation/q", "memory://curation/out", "--drop-worst", 0.5)) == 0
    assert run(command(local, tmp_path / "out", "--drop-worst", 0.5)) == 0
    there = {name.removeprefix("/curation/out/"): fs.cat_file(name) for name in fs.find("/curation/out")}
    assert there == files_of(tmp_path / "out")


def test_what_a_filter_run_wrote_is_never_input_of_scoring(scored, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scored.parent / "in", data)
    assert run(command(scored, data / "filtered", "--min-quality", 0.2)) == 0
    plan = plan_dataset([str(data)], "auto", 1000, str(tmp_path / "plan"))
    assert plan.records == 26
