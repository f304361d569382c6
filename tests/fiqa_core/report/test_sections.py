"""What a report counts and chooses, against pandas: wrong labels, splits, merges, columns, curves, missing images."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.report.curves import read_evaluation
from pipelines import evaluate_quality, filter_dataset, report_dataset
from schemas.quality import quality_schema
from tests.pipelines.test_evaluate_quality import Faces

IMAGES, PEOPLE = 10, 8
# Row 3 of person 0 shows person 1; label p6 has two people; labels p7 and p5 are one person.
PLANTED = 3


def vectors() -> np.ndarray:
    rng = np.random.default_rng(3)
    people = rng.normal(size=(PEOPLE + 1, 32))
    shown = np.repeat(np.arange(PEOPLE), IMAGES)
    shown[PLANTED] = 1
    shown[6 * IMAGES : 6 * IMAGES + 4] = PEOPLE
    shown[7 * IMAGES :] = 5
    return (people[shown] + 0.25 * rng.normal(size=(len(shown), 32))).astype(np.float32)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    count = IMAGES * PEOPLE
    rng = np.random.default_rng(4)
    columns = {
        "key": [f"k{row}" for row in range(count)],
        "shard": ["gone.tar"] * count,
        "index": range(count),
        "label": [f"p{row // IMAGES}" for row in range(count)],
        "quality": rng.uniform(0.4, 0.9, count).astype(np.float32),
        "status": pa.array(["scored"] * count).dictionary_encode(),
        "message": pa.nulls(count, pa.string()),
        "width": rng.integers(80, 200, count).astype(np.int32),
        "height": np.full(count, 112, np.int32),
        "sha256": [row.to_bytes(32, "big") for row in range(count)],
        "bytes": rng.integers(1000, 4000, count),
        "quantisation": pa.nulls(count, pa.float32()),
        "phash": pa.nulls(count, pa.string()),
        "thumb": [bytes([row]) * 1024 if row % 2 else None for row in range(count)],
        "embedding": list(vectors()),
    }
    folder = tmp_path_factory.mktemp("judged") / "quality"
    folder.mkdir()
    schema = quality_schema("float32", 32, phash=True)
    pq.write_table(pa.table(columns, schema=schema), folder / "part-000000.parquet")
    return folder


@pytest.fixture(scope="module")
def report(table) -> Path:
    out, place = table.parent / "out", table.parent / "report.html"
    options = ["--quality", str(table), "--output", str(out), "--drop-wrong-labels"]
    assert filter_dataset.run([*options, "--label-cosine", "0.3"]) == 0
    options = ["--quality", str(table), "--decisions", str(out), "--group-by", "width", "height", "tier"]
    assert report_dataset.run([*options, "--output", str(place)]) == 0
    return place


def data_of(report: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text("utf-8"), re.S)
    return json.loads(found[1])


def test_a_wrong_label_stands_beside_its_identitys_best_face_and_the_identity_it_looks_like(report, table):
    data, rows = data_of(report), pd.read_parquet(table)
    best = {label: str(group.quality.idxmax()) for label, group in rows.groupby("label")}
    item = next(item for item in data["dropped"]["wrong_label"] if item["rid"] == PLANTED)
    assert [(str(other["rid"]), other["role"]) for other in item["beside"]] == [
        (best["p0"], "same identity"),
        (best["p1"], "looks like"),
    ]
    assert item["looksLike"] == "p1"
    assert set(best.values()) & set(data["faces"]) >= {best["p0"], best["p1"]}


def test_a_label_that_looks_wrong_is_shown_also_where_no_rule_removes_it(table, tmp_path):
    options = ["--quality", str(table), "--output", str(tmp_path / "out"), "--embeddings", "table"]
    assert filter_dataset.run([*options, "--label-cosine", "0.3"]) == 0
    place = tmp_path / "report.html"
    options = ["--quality", str(table), "--decisions", str(tmp_path / "out"), "--output", str(place)]
    assert report_dataset.run(options) == 0
    data = data_of(place)
    assert "wrong_label" not in data["dropped"]
    decided = pd.concat(map(pd.read_parquet, (tmp_path / "out/decisions").iterdir()))
    judged = set(decided.reset_index().index[decided.label_verdict == "wrong_label"])
    assert {item["rid"] for item in data["dropped"]["suspects"]} == judged >= {PLANTED}
    assert f"label looks wrong: {len(judged)}</h3>" in place.read_text("utf-8")


def test_labels_of_two_people_and_two_labels_of_one_person_are_shown_with_faces(report, table):
    data, rows = data_of(report), pd.read_parquet(table)
    ((larger, smaller),) = data["splits"]
    assert set(rows.label[larger + smaller]) == {"p6"}
    assert set(smaller) <= set(range(60, 64))
    assert set(larger) <= set(range(64, 70))
    ((one, other),) = data["merges"]
    assert {*rows.label[one]} | {*rows.label[other]} == {"p5", "p7"}


def test_an_image_that_is_not_there_is_its_thumbnail_or_says_why(report):
    faces = data_of(report)["faces"]
    assert all("gone.tar" in face["note"] for face in faces.values())
    assert {face["kind"] for rid, face in faces.items() if int(rid) % 2} == {"png"}
    assert not any("image" in face for rid, face in faces.items() if not int(rid) % 2)


def test_quality_by_a_column_is_that_of_pandas(report, table):
    text = re.sub(r"\s+", " ", report.read_text("utf-8"))
    rows = pd.read_parquet(table)
    decided = pd.concat(map(pd.read_parquet, (table.parent / "out/decisions").iterdir()))
    for tier, group in decided.groupby("tier", observed=True).quality:
        assert f'<bdi>{tier}</bdi></th><td class="n">{len(group)}</td>' in text
        assert f"{group.mean():.4g}</td>" in text
    assert f'<bdi>112</bdi></th><td class="n">{len(rows)}</td>' in text
    bands = re.findall(r"<bdi>(?:below \d+|\d+ to \d+|\d+ and above)</bdi></th><td class=\"n\">(\d+)</td>", text)
    assert len(bands) == 10
    assert sum(map(int, bands)) == len(rows)


def test_the_curves_are_those_of_the_evaluation(tmp_path):
    faces = Faces(tmp_path)
    flags = ["--no-plots", "--random-seeds", "1", "--recommend"]
    assert evaluate_quality.run(faces.flags(tmp_path / "edc", *flags)) == 0
    found = read_evaluation(str(tmp_path / "edc"))
    curves = pd.read_parquet(tmp_path / "edc/edc.parquet")
    assert len(found.charts) == len(curves.groupby(["protocol", "fmr"], observed=True))
    for chart in found.charts:
        fmr, protocol = re.search(r"FMR (\S+) \((\w+)\)", chart.title).groups()
        part = curves[(curves.fmr == float(fmr)) & (curves.protocol == protocol)]
        assert set(chart.lines) == set(part.method)
        discard, fnmr = chart.lines["q"]
        assert discard.tolist() == part[part.method == "q"].discard.tolist()
        assert np.array_equal(fnmr, part[part.method == "q"].fnmr.to_numpy(), equal_nan=True)
    assert found.thresholds
    table = tmp_path / "table"
    table.mkdir()
    rows = pd.DataFrame({"key": faces.keys, "shard": "s", "index": range(len(faces.keys)), "label": faces.labels})
    rows = rows.assign(quality=faces.quality, status="scored", sha256=None)
    rows.to_parquet(table / "part.parquet")
    options = ["--quality", str(table), "--edc", str(tmp_path / "edc"), "--output", str(tmp_path / "r.html")]
    assert report_dataset.run(options) == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    assert text.count('alt="Error-versus-discard curves') == len(found.charts)
    assert "fiqa evaluate --quality q=" in text
