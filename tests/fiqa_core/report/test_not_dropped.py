"""What was found and is not dropped: a report says what each further rule would take, as the filter then takes it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.tables.faces import read_faces
from pipelines import filter_dataset, report_dataset
from tests.makers.containers import face_records, samples, write_tar
from tests.makers.report_tables import IMAGES, PEOPLE, ROWS, columns_of, data_of, text_of, write
from tests.makers.runs import score_shards

NEAR = ["--near-by", "cosine", "--near-cosine", "0.995"]
RULES = {
    "suspects": ("wrong_label", ["--drop-wrong-labels"]),
    "found_exact": ("duplicate_exact", ["--exact-duplicates", "all"]),
    "found_near": ("duplicate_near", ["--near-duplicates", "all"]),
}


def filtered(table: Path, output: Path, *options: str) -> Path:
    common = ["--quality", str(table), "--output", str(output), "--label-cosine", "0.3", *NEAR]
    assert filter_dataset.run([*common, *options]) == 0
    return output


def reported(table: Path, decisions: Path, place: Path, *options: str) -> Path:
    assert (
        report_dataset.run(["--quality", str(table), "--decisions", str(decisions), "--output", str(place), *options])
        == 0
    )
    return place


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Row 3 shows another person; rows 20 to 23 are nearly 24 to 27; rows 40 and 50 have the bytes of 41 and 51."""
    rng = np.random.default_rng(3)
    people = rng.normal(size=(PEOPLE, 32))
    shown = np.repeat(np.arange(PEOPLE), IMAGES)
    shown[3] = 1
    vectors = (people[shown] + 0.25 * rng.normal(size=(ROWS, 32))).astype(np.float32)
    vectors[20:24] = vectors[24:28] + 0.001
    columns = columns_of(rng.uniform(0.4, 0.9, ROWS), embedding=list(vectors))
    for row in (40, 50):
        columns["sha256"][row] = columns["sha256"][row + 1]
    folder = tmp_path_factory.mktemp("not-dropped")
    return write(folder / "quality", columns, embedding_type="float32", embedding_dim=32)


@pytest.fixture(scope="module")
def searched(table) -> Path:
    """Decisions with every rule, whose findings others use."""
    rules = [option for _, options in RULES.values() for option in options]
    return filtered(table, table.parent / "all", *rules)


@pytest.fixture(scope="module")
def report(table, searched) -> Path:
    """Of decisions that drop nothing of what was found."""
    findings = ["--findings", str(searched / "findings")]
    return reported(table, filtered(table, table.parent / "none", *findings), table.parent / "none.html", *findings)


@pytest.mark.parametrize("code", RULES)
def test_a_further_rule_would_take_what_the_filter_takes_when_it_is_switched_on(
    report, searched, table, code, tmp_path
):
    reason, options = RULES[code]
    output = filtered(table, tmp_path / "out", "--findings", str(searched / "findings"), *options)
    taken = json.loads((output / "summary.json").read_text())["dropped"][reason]
    assert f'<td class="n" id="n-{code}">{taken:,}</td>' in text_of(report)
    decided = pd.concat(map(pd.read_parquet, (output / "decisions").iterdir())).reset_index(drop=True)
    shown = {item["rid"] for item in data_of(report)["dropped"][code]}
    assert shown == set(decided.index[decided.reason == reason]) != set()


def test_what_was_found_stands_beside_the_image_that_would_stay(report):
    found = data_of(report)["dropped"]
    exact = {(item["rid"], item["beside"][0]["rid"]) for item in found["found_exact"]}
    assert {tuple(sorted(pair)) for pair in exact} == {(40, 41), (50, 51)}
    near = {tuple(sorted((item["rid"], item["beside"][0]["rid"]))) for item in found["found_near"]}
    assert near == {(20, 24), (21, 25), (22, 26), (23, 27), (40, 41), (50, 51)}
    assert {item["role"] for code in ("found_exact", "found_near") for item in found[code]} == {"would go"}
    assert {item["beside"][0]["role"] for item in found["found_exact"]} == {"would stay"}


def test_a_duplicate_whose_label_looks_wrong_says_both(table, searched, tmp_path):
    first, second = pq.read_table(table / "part-000000.parquet"), tmp_path / "quality"
    digests = first["sha256"].to_pylist()
    digests[3] = digests[13]  # row 3 shows the person of row 13, and now has its bytes too
    second.mkdir()
    place = first.schema.get_field_index("sha256")
    pq.write_table(
        first.set_column(place, first.schema.field("sha256"), pa.array(digests, pa.binary())), second / "p.parquet"
    )
    findings = ["--findings", str(searched / "findings")]
    decided = filtered(second, tmp_path / "out", *findings, "--exact-duplicates", "all")
    data = data_of(reported(second, decided, tmp_path / "r.html", *findings))
    (item,) = [item for item in data["dropped"]["duplicate_exact"] if item["rid"] == 3]
    assert item["why"].startswith("the same bytes; the label looks wrong too: cosine ")
    assert (item["looksLike"], item["beside"][0]["rid"]) == ("p1", 13)


def test_nothing_further_is_found_where_every_rule_is_on(table, searched, tmp_path):
    text = text_of(reported(table, searched, tmp_path / "r.html"))
    assert [f'id="n-{code}">0</td>' in text for code in RULES] == [True] * 3


def test_what_nobody_looked_for_is_said_and_not_counted_as_nothing(table, tmp_path):
    plain = write(tmp_path / "plain", columns_of(np.linspace(0.1, 0.9, ROWS)))
    assert filter_dataset.run(["--quality", str(plain), "--output", str(tmp_path / "out"), "--min-quality", "0.2"]) == 0
    text = text_of(reported(plain, tmp_path / "out", tmp_path / "r.html"))
    assert "not looked for: give fiqa filter the --embeddings" in text
    assert "not looked for: the policy does not ask for them" in text
    assert 'id="n-found_exact">0</td>' in text


def test_a_folder_without_findings_is_refused(table, searched, tmp_path, caplog):
    options = ["--quality", str(table), "--decisions", str(searched), "--output", str(tmp_path / "r.html")]
    assert report_dataset.run([*options, "--findings", str(table)]) == 2
    assert "holds no findings" in caplog.text
    assert report_dataset.run([*options[:2], *options[4:], "--findings", str(table)]) == 2
    assert "--findings goes with --decisions" in caplog.text


@pytest.mark.parametrize("rule", ["overlap_exact", "overlap_near"])
def test_an_overlap_shows_the_picture_in_the_other_dataset_or_says_that_it_is_gone(rule, tmp_path):
    records = face_records(9, 3, 48)
    own, other = write_tar(tmp_path / "own.tar", samples(records)), write_tar(tmp_path / "x.tar", samples(records[4:6]))
    for name, shard in (("q", own), ("x", other)):
        score_shards(tmp_path / name, [shard])
    options = ["--quality", str(tmp_path / "q"), "--against", str(tmp_path / "x"), "--output", str(tmp_path / "out")]
    if rule == "overlap_near":
        pairs = tmp_path / "found"
        pairs.mkdir()
        row = {"a": 4, "b": 9, "similarity": np.float32(0.99), "kind": "cosine", "crowd": None}
        frame = pd.DataFrame([row, row | {"a": 5, "b": 10}]).astype({"crowd": "Int64"})
        frame.to_parquet(pairs / "pairs-000000.parquet")
        options += ["--no-overlap-exact", "--overlap-near", "--findings", str(pairs), "--near-by", "cosine"]
    assert filter_dataset.run(options) == 0
    data = data_of(reported(tmp_path / "q", tmp_path / "out", tmp_path / "r.html"))
    items = data["dropped"][rule]
    assert sorted(item["rid"] for item in items) == [4, 5]
    for item in items:
        (beside,) = item["beside"]
        ours, theirs = data["faces"][str(item["rid"])], data["faces"][str(beside["rid"])]
        assert beside["role"] == "in the other dataset"
        assert ours["image"] == theirs["image"]
        assert (theirs["shard"], theirs["status"]) == (str(other), "in the other dataset")
        assert "sha256" not in theirs  # nobody reviews an image of another dataset here
    other.unlink()
    data = data_of(reported(tmp_path / "q", tmp_path / "out", tmp_path / "gone.html"))
    theirs = data["faces"][str(data["dropped"][rule][0]["beside"][0]["rid"])]
    assert "image" not in theirs
    assert "x.tar" in theirs["note"]
    assert next(read_faces([{"shard": str(own), "index": 4}])).data is not None
