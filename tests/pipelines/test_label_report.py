"""Labels end to end: what a run says of them, and that none changes on its way through a subset."""

import csv
import json
import logging
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.csv_cells import restored
from fiqa_core.curation.subset.plan import plan_subset
from fiqa_core.curation.subset.settings import SubsetSettings
from fiqa_core.curation.subset.write_task import write_task
from fiqa_core.tables.quality_files import find_parts
from pipelines.cli.label_report import log_labels
from pipelines.jobs import table_job
from pipelines.score_dataset import EXIT_BAD_INPUT, run
from tests.fakes import MeanScorerSource
from tests.makers.containers import write_tar
from tests.makers.decisions import write_decisions
from tests.makers.images import png_bytes

BREAKS = [*map(chr, range(1, 32)), "\0", "\x7f", "\x85", "\u2028", "\u2029", '"', ",", "'", "=", "\ufeff"]
ODD = [*(f"a{c}b" for c in BREAKS), " Ann", "Ann ", "\nAnn", "Ann\r", "=1+1", "", "A\0n\0"]


def score(source: Path, output: Path, *more: str) -> int:
    return run(["--input", str(source), "--output", str(output), *more], MeanScorerSource())


def said(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())["labels"]


def write_parquet(path: Path, labels: list[str]) -> Path:
    images = [png_bytes(n % 7, 24) for n in range(len(labels))]
    keys = [f"{n:03d}{label}" for n, label in enumerate(labels)]
    pq.write_table(pa.table({"image": images, "label": pa.array(labels, pa.string()), "key": keys}), path)
    return path


def test_a_run_says_its_identities_their_source_and_the_records_without_also_when_resumed(tmp_path, caplog):
    members = [(f"{n}.png", png_bytes(n, 24)) for n in range(6)]
    members += []
    sidecars = {0: b"Ann", 1: b"\xef\xbb\xbfAnn\r\n", 2: b"Ben", 3: "Ben".encode("utf-16")}
    shard = [one for n in range(6) for one in (members[n], *([(f"{n}.cls", sidecars[n])] if n in sidecars else []))]
    source = write_tar(tmp_path / "a.tar", shard)
    caplog.set_level("INFO")
    assert score(source, tmp_path / "out") == 0
    expected = {"identities": 2, "records_with": 4, "records_without": 2, "sources": {".cls": 4}}
    assert said(tmp_path / "out").items() >= expected.items()
    assert "labels: 2 identities from .cls; 2 records without" in caplog.text
    (tmp_path / "out" / "summary.json").unlink()
    caplog.clear()
    assert score(source, tmp_path / "out", "--resume") == 0
    assert said(tmp_path / "out").items() >= expected.items()
    assert "labels: 2 identities from .cls; 2 records without" in caplog.text


def test_a_set_without_labels_is_warned_of_with_the_columns_that_look_like_one(tmp_path, caplog):
    table = pa.table({"image": [png_bytes(n, 24) for n in range(4)], "person": list("aabb"), "width": [1] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    assert score(tmp_path / "a.parquet", tmp_path / "out") == 0
    assert "no labels found; columns that look like one: person" in caplog.text
    assert said(tmp_path / "out")["looks_like_a_label"] == {"person": 4}


def test_one_folder_with_more_than_half_of_the_images_is_warned_of(tmp_path, caplog):
    for n in range(60):
        path = tmp_path / "set" / ("images" if n % 3 else "other") / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(n % 5, 24))
    assert score(tmp_path / "set", tmp_path / "out") == 0
    assert "the label 'images' has 40 of 60 records" in caplog.text


@pytest.mark.parametrize("labelled", [False, True])
def test_the_next_step_is_the_last_thing_that_a_run_says(tmp_path, monkeypatch, caplog, labelled):
    said: list[str] = []
    monkeypatch.setattr(table_job, "report", lambda lines: said.extend(lines))
    monkeypatch.setattr(logging.Handler, "handle", lambda _, record: said.append(record.getMessage()))
    members = [(f"{n}.png", png_bytes(n, 24)) for n in range(3)]
    members += [("0.cls", b"Ann")] if labelled else []
    source = write_tar(tmp_path / "a.tar", members)
    caplog.set_level("INFO")
    for more in ([], ["--resume"]):  # a run, and one that finds nothing left to do
        said.clear()
        assert score(source, tmp_path / "out", *more) == 0
        assert any(line.startswith("labels: " if labelled else "no labels found") for line in said)
        assert [line.partition(":")[0] for line in said[-2:]] == ["next", "then"]


def test_a_dry_run_says_nothing_of_the_packages_own_network_and_ends_with_the_next_step(tmp_path, caplog, capsys):
    source = write_tar(tmp_path / "a.tar", [(f"{n}.png", png_bytes(n, 24)) for n in range(3)])
    assert run(["--input", str(source), "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "comes with this package" not in caplog.text
    assert capsys.readouterr().out.splitlines()[-1].startswith("dry run: nothing was written. next:")


def test_a_run_whose_label_field_is_nowhere_ends_with_what_to_do_about_it(tmp_path, capsys):
    shard = [one for n in range(70) for one in ((f"{n}.png", png_bytes(n % 5, 24)), (f"{n}.json", b'{"identity": 3}'))]
    assert score(write_tar(tmp_path / "a.tar", shard), tmp_path / "out", "--label-field", "who") == EXIT_BAD_INPUT
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: score again with a --label-field that the records have")


@pytest.mark.parametrize("count", [3, 70])
def test_a_label_field_that_no_json_sidecar_has_ends_in_an_error_that_names_what_there_is(tmp_path, caplog, count):
    sidecar = b'{"identity_id": 3}'
    shard = [one for n in range(count) for one in ((f"{n}.png", png_bytes(n % 5, 24)), (f"{n}.json", sidecar))]
    assert score(write_tar(tmp_path / "a.tar", shard), tmp_path / "out", "--label-field", "who") == EXIT_BAD_INPUT
    assert "--label-field 'who'" in caplog.text
    assert "identity_id" in caplog.text
    # Of 3 records all are looked at before anything is scored; of 70 only reading tells.
    assert (tmp_path / "out" / "summary.json").exists() == (count == 70)


def write_subset(root: Path, kind: str, relabel: bool = False) -> Path:
    output = root / f"{kind}-{relabel}"
    plan = plan_subset(
        find_parts([str(root / "table")]), str(root / "decisions"), SubsetSettings(kind, 1000, relabel), str(output)
    )
    for task in plan.tasks:
        assert not write_task(task, plan.settings, str(output), plan.grouped).failures
    return output / "subset"


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A table whose labels and keys have every control character."""
    root = tmp_path_factory.mktemp("odd")
    assert score(write_parquet(root / "in.parquet", ODD), root / "table") == 0
    assert pd.read_parquet(root / "table" / "quality").label.tolist() == ODD
    write_decisions(find_parts([str(root / "table")]), root / "decisions", lambda _: True)
    return root


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_every_label_is_the_same_when_a_subset_is_scored_again(odd, tmp_path, kind):
    data = write_subset(odd, kind) / "data"
    assert score(data, tmp_path / "again") == 0
    assert pd.read_parquet(tmp_path / "again" / "quality").label.tolist() == ODD
    if kind == "webdataset":  # and once more, from tar to tar
        write_decisions(find_parts([str(tmp_path / "again")]), tmp_path / "decisions", lambda _: True)
        (tmp_path / "table").symlink_to(tmp_path / "again")
        assert score(write_subset(tmp_path, kind) / "data", tmp_path / "third") == 0
        assert pd.read_parquet(tmp_path / "third" / "quality").label.tolist() == ODD


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_numbers_of_relabelled_images_are_those_of_labels_csv(odd, tmp_path, kind):
    subset = write_subset(odd, kind, relabel=True)
    with (subset / "labels.csv").open(encoding="utf-8", newline="") as stream:
        number = {restored(row["label"]): row["new_label"] for row in csv.DictReader(stream)}
    assert set(number) == set(ODD)
    assert len(set(number.values())) == len(ODD)
    assert score(subset / "data", tmp_path / "again") == 0
    assert pd.read_parquet(tmp_path / "again" / "quality").label.tolist() == [number[label] for label in ODD]
    index = pq.read_table(subset / "index").to_pandas()
    assert index.label.tolist() == ODD
    assert index.key.tolist() == [f"{n:03d}{label}" for n, label in enumerate(ODD)]


def test_one_record_without_a_label_is_not_said_as_several(caplog):
    labels = {
        "records_with": 3, "records_without": 1, "looks_like_a_label": {}, "identities": 1, "identities_exact": True,
        "sources": {}, "most_common": None,
    }  # fmt: skip
    with caplog.at_level(logging.INFO):
        log_labels(logging.getLogger("score_dataset"), labels)
    assert "labels: 1 identity from an earlier run; 1 record without" in caplog.text
