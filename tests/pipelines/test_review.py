"""`--review`: what a person decided comes before every rule, and the labels that he gave reach the kept images."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.subset.settings import SUBSET
from fiqa_core.shards.formats import output_formats
from pipelines import filter_dataset
from tests.makers.containers import face_records, samples, write_tar
from tests.makers.reports import FACES, scored_faces
from tests.makers.runs import score_shards


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> Path:
    return scored_faces(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture(scope="module")
def table(scores) -> pd.DataFrame:
    return pd.read_parquet(scores / "quality")


def review(folder: Path, lines: list[tuple[bytes, str, str]]) -> Path:
    place = folder / "given.csv"
    text = "".join(f'{sha.hex()},{verdict},"{label}"\n' for sha, verdict, label in lines)
    place.write_text("sha256,verdict,label\n" + text, encoding="utf-8")
    return place


def decided(output: Path) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted((output / "decisions").iterdir())))


def run(scores: Path, output: Path, given: Path, *options: str) -> int:
    common = ["--quality", str(scores), "--output", str(output), "--review", str(given)]
    return filter_dataset.run([*common, *options])


# Every rule that drops a row for its quality or its place, so that each would drop the worst row.
RULES = {
    "min_quality": ["--min-quality", "2"],
    "drop_worst": ["--drop-worst", "0.9"],
    "drop_worst_of_identity": ["--drop-worst-of-identity", "0.9"],
    "best_per_identity": ["--best-per-identity", "1"],
    "max_identities": ["--max-identities", "1"],
    "target_size": ["--target-size", "3"],
    "min_per_identity": ["--min-per-identity", "50"],
}


@pytest.mark.parametrize("rule", RULES)
def test_a_face_that_a_person_keeps_stays_whatever_a_rule_says(scores, table, tmp_path, rule):
    worst = table.sort_values("quality").sha256.iloc[:2].tolist()
    assert run(scores, tmp_path / "out", review(tmp_path, [(sha, "keep", "") for sha in worst]), *RULES[rule]) == 0
    rows = decided(tmp_path / "out")
    chosen = rows[rows.sha256.isin(worst)]
    assert chosen.keep.all()
    assert set(chosen.reviewed) == {"keep"}
    assert not rows.keep.all()
    dropped = rows[~rows.keep]
    assert dropped.reviewed.isna().all()


def test_a_face_that_a_person_drops_goes_before_every_rule_and_stands_for_no_duplicate(scores, table, tmp_path):
    twice = table.sha256.iloc[0]
    best = table.sort_values("quality").sha256.iloc[-1]
    lines = [(twice, "drop", ""), (best, "drop", "")]
    assert run(scores, tmp_path / "out", review(tmp_path, lines), "--exact-duplicates", "all") == 0
    rows = decided(tmp_path / "out")
    assert set(rows[rows.sha256.isin([twice, best])].reason) == {"reviewed_drop"}
    assert (rows.reason == "duplicate_exact").sum() == 3  # of the four pairs with equal bytes one is gone
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["dropped"]["reviewed_drop"] == 3
    assert summary["reviewed"] == {"keep": 0, "drop": 3, "relabelled": 0, "unknown_images": 0}
    removed = pd.read_csv(tmp_path / "out/removed.csv")
    assert (removed.reason == "reviewed_drop").sum() == 3


def test_of_several_copies_of_a_kept_image_one_stays(scores, table, tmp_path):
    sha = table.sha256.iloc[1]
    assert run(scores, tmp_path / "out", review(tmp_path, [(sha, "keep", "")]), "--exact-duplicates", "all") == 0
    rows = decided(tmp_path / "out")
    assert rows[rows.sha256 == sha].keep.tolist().count(True) == 1


def test_a_right_label_counts_in_the_rules_and_is_written_with_the_image(scores, table, tmp_path):
    sha = table.sha256.iloc[10]
    lines = [(sha, "", "a new, person")]
    options = ["--min-per-identity", "2", "--write", "webdataset"]
    assert run(scores, tmp_path / "alone", review(tmp_path, lines), *options) == 0
    rows = decided(tmp_path / "alone")
    only = rows[rows.sha256 == sha].iloc[0]
    assert (only.label, only.reason, only.reviewed) == ("a new, person", "identity_too_small", "label")
    two = [(table.sha256.iloc[place], "", "a new, person") for place in (10, 11)]
    assert run(scores, tmp_path / "two", review(tmp_path, two), *options) == 0
    index = pd.concat(map(pd.read_parquet, (tmp_path / "two" / SUBSET / "index").iterdir()))
    assert (index.label == "a new, person").sum() == 2
    from pipelines import score_dataset
    from tests.fakes import MeanScorerSource

    again = ["--input", str(tmp_path / "two" / SUBSET / "data"), "--output", str(tmp_path / "again")]
    assert score_dataset.run(again, MeanScorerSource()) == 0
    found = pd.read_parquet(tmp_path / "again" / "quality")
    assert set(found[found.label == "a new, person"].sha256) == {sha for sha, _, _ in two}
    assert len(found) == FACES


def test_another_review_is_another_run_and_the_review_lies_beside_the_decisions(scores, table, tmp_path, caplog):
    given = review(tmp_path, [(table.sha256.iloc[0], "drop", "")])
    assert run(scores, tmp_path / "out", given) == 0
    assert (tmp_path / "out/review.csv").read_bytes() == given.read_bytes()
    assert run(scores, tmp_path / "out", given, "--resume") == 0
    given = review(tmp_path, [(table.sha256.iloc[0], "keep", "")])
    assert run(scores, tmp_path / "out", given, "--resume") == 2
    assert "review" in caplog.text
    mine = tmp_path / "out/review.csv"
    assert run(scores, tmp_path / "out", mine, "--overwrite") == 0
    assert pq.read_table(tmp_path / "out/decisions")["keep"].to_pylist().count(False) == 2


def test_an_image_that_no_row_has_is_said_and_a_review_that_is_not_there_is_refused(scores, tmp_path, caplog):
    assert run(scores, tmp_path / "out", review(tmp_path, [(bytes(32), "keep", "")])) == 0
    assert "the review names 1 image that no row of the tables has" in caplog.text
    assert run(scores, tmp_path / "other", tmp_path / "none.csv") == 2
    assert "none.csv" in caplog.text


@pytest.mark.parametrize("kind", output_formats()[1:])
def test_a_right_label_is_written_with_the_image_in_every_format(kind, tmp_path):
    score_shards(tmp_path / "q", [write_tar(tmp_path / "in.tar", samples(face_records(12, 3, 40)))])
    table = pd.read_parquet(tmp_path / "q" / "quality")
    chosen = {table.sha256.iloc[4]: "2", table.sha256.iloc[7]: "97"}  # another identity of the set, and a new one
    given = review(tmp_path, [(sha, "", label) for sha, label in chosen.items()])
    assert run(tmp_path / "q", tmp_path / "out", given, "--write", kind) == 0
    expected = dict(zip(table.sha256, table.label, strict=True)) | chosen
    assert any(expected[sha] != label for sha, label in zip(table.sha256, table.label, strict=True))

    score_shards(tmp_path / "again", [tmp_path / "out" / SUBSET / "data"])
    found = pd.read_parquet(tmp_path / "again" / "quality")
    listed = tmp_path / "out" / SUBSET / "labels.csv"
    names = {}
    if listed.exists():  # labels are numbers there
        names = pd.read_csv(listed, dtype=str).set_index("new_label").label.to_dict()
    written = {sha: names.get(label, label) for sha, label in zip(found.sha256, found.label, strict=True)}
    assert written == expected
