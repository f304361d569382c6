"""The atlas command as a user calls it: what is in its file, who can open it, and what it refuses."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fiqa_core.atlas import settings as core
from pipelines import atlas_dataset, embed_dataset, filter_dataset, score_dataset
from pipelines.cli import atlas_options
from tests.fakes import MeanScorerSource
from tests.makers.containers import write_tar
from tests.makers.embedded import people_images
from tests.makers.reports import FACES, HOSTILE, scored_faces
from tests.shared import SHARED, lfw_faces, needs_shared

OPTIONS = ("--perplexity", "5")


def vectors_of(table: Path, place: Path, dim: int = 16) -> Path:
    """Made embeddings of a table's rows by the digests of their bytes; equal bytes have one embedding."""
    digests = pd.read_parquet(table)["sha256"].drop_duplicates().tolist()
    vectors = people_images(8, -(-len(digests) // 8), dim=dim)[0][: len(digests)]
    pq.write_table(pa.table({"sha256": digests, "embedding": list(vectors)}), place)
    return place


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Path, Path]:
    """A table of 60 faces with hostile names, the last 4 duplicates of the first 4, and a file of embeddings."""
    folder = tmp_path_factory.mktemp("scored")
    out = scored_faces(folder)
    return out, vectors_of(out / "quality", folder / "embeddings.parquet")


def atlas(scored: tuple[Path, Path], output: Path, *more: object) -> int:
    table, vectors = scored
    words = ["--quality", table, "--embeddings", vectors, "--output", output, *OPTIONS, *more]
    return atlas_dataset.run([str(word) for word in words])


def summary_of(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())


def copy_with(table: Path, folder: Path, rows: int, **columns: pa.Array) -> Path:
    """A quality table of the first rows of another, with other columns."""
    found = pq.read_table(table).slice(0, rows)
    for name, values in columns.items():
        found = found.set_column(found.column_names.index(name), found.schema.field(name), values)
    folder.mkdir()
    pq.write_table(found, folder / "part-000000.parquet")
    return folder


@pytest.fixture(scope="module")
def made(scored, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("made") / "atlas"
    assert atlas(scored, output, "--columns", "width", "bytes", "key") == 0
    return output


def test_pandas_opens_the_file_with_coordinates_references_and_pictures(scored, made):
    frame = pd.read_parquet(made / "atlas.parquet")
    table = pd.read_parquet(scored[0] / "quality")
    assert len(frame) == FACES
    assert frame["x"].dtype == frame["y"].dtype == np.float32
    assert np.isfinite(frame[["x", "y"]]).all(axis=None)
    for name in ("key", "shard", "index", "label", "quality", "width", "bytes"):
        assert frame[name].tolist() == table[name].tolist()
    assert frame["sha256"].tolist() == [digest.hex() for digest in table["sha256"]]
    for picture, digest in zip(frame["thumbnail"], frame["sha256"], strict=True):
        assert picture["path"] == f"{digest}.jpg"
        image = Image.open(io.BytesIO(picture["bytes"]))
        assert (image.format, image.size) == ("JPEG", (48, 48))
    assert frame["thumbnail_problem"].isna().all()


def test_hostile_labels_and_keys_are_kept_as_they_are_and_name_no_file(made):
    frame = pd.read_parquet(made / "atlas.parquet")
    assert set(frame["label"]) == set(HOSTILE)
    assert all(re.fullmatch(r"[0-9a-f]{64}\.jpg", picture["path"]) for picture in frame["thumbnail"])


def test_hugging_face_datasets_shows_the_thumbnails_as_images(made, tmp_path):
    import datasets

    found = datasets.Dataset.from_parquet(str(made / "atlas.parquet"), cache_dir=str(tmp_path))
    assert isinstance(found.features["thumbnail"], datasets.Image)
    assert found[0]["thumbnail"].size == (48, 48)
    assert found.num_rows == FACES


def test_the_file_and_the_summary_say_how_the_map_was_made(made):
    metadata = pq.read_schema(made / "atlas.parquet").metadata
    facts, summary = json.loads(metadata[b"fiqa.atlas"]), summary_of(made)
    assert summary["complete"] is True
    assert {name: summary[name] for name in facts} == facts
    assert summary["settings"] == {
        "points": core.MOST_POINTS, "seed": 0, "perplexity": 5.0, "side": core.SIDE,
        "columns": ["width", "bytes", "key"],
    }  # fmt: skip
    assert summary["libraries"].keys() == {"openTSNE", "numpy", "scikit-learn"}
    counts = [summary[name] for name in ("rows", "with_embedding", "points", "sampled", "left_out", "method")]
    assert counts == [FACES, FACES, FACES, False, {}, "t-SNE"]
    assert sorted(path.name for path in made.iterdir()) == ["atlas.parquet", "run.json", "summary.json"]


def test_the_options_say_the_defaults_of_the_core():
    defaults = core.AtlasSettings()
    found = (atlas_options.MOST_POINTS, atlas_options.PERPLEXITY, atlas_options.SIDE)
    assert found == (defaults.points, defaults.perplexity, defaults.side)


def test_above_the_stated_number_a_seeded_sample_is_placed_and_said_to_be_one(scored, tmp_path, capsys):
    assert atlas(scored, tmp_path / "a", "--sample", 20, "--seed", 3) == 0
    assert "a sample: 20 points of 60 (--sample 20 --seed 3)" in capsys.readouterr().out
    assert atlas(scored, tmp_path / "b", "--sample", 20, "--seed", 3) == 0
    assert atlas(scored, tmp_path / "c", "--sample", 20, "--seed", 4) == 0
    first, again, other = ((tmp_path / name / "atlas.parquet").read_bytes() for name in "abc")
    assert first == again
    indices = [pd.read_parquet(io.BytesIO(data))["index"].tolist() for data in (first, other)]
    assert len(indices[0]) == len(indices[1]) == 20
    assert indices[0] != indices[1]
    summary = summary_of(tmp_path / "a")
    assert (summary["sampled"], summary["with_embedding"], summary["points"]) == (True, FACES, 20)


def test_decisions_add_reasons_and_groups_of_duplicates(scored, tmp_path):
    words = ["--quality", scored[0], "--exact-duplicates", "all", "--output", tmp_path / "clean"]
    assert filter_dataset.run([str(word) for word in words]) == 0
    assert atlas(scored, tmp_path / "a", "--decisions", tmp_path / "clean", "--columns", "weight") == 0
    frame = pd.read_parquet(tmp_path / "a" / "atlas.parquet")
    decided = pd.read_parquet(tmp_path / "clean" / "decisions")
    assert frame["keep"].tolist() == decided["keep"].tolist()
    assert frame["weight"].tolist() == decided["weight"].tolist()
    dropped = frame[frame["reason"] == "duplicate_exact"]
    assert len(dropped) == 4
    groups = frame.dropna(subset="duplicate_group").groupby("duplicate_group")["sha256"]
    assert groups.size().tolist() == [2, 2, 2, 2]
    assert (groups.nunique() == 1).all()


def test_decisions_over_other_tables_are_refused(scored, tmp_path, caplog):
    other = copy_with(scored[0] / "quality", tmp_path / "other", 10)
    words = ["--quality", str(other), "--exact-duplicates", "all", "--output", str(tmp_path / "clean")]
    assert filter_dataset.run(words) == 0
    assert atlas(scored, tmp_path / "a", "--decisions", tmp_path / "clean") == 2
    assert "which are not the same" in caplog.text
    assert not (tmp_path / "a").exists()


def test_rows_without_an_embedding_are_left_out_counted_by_reason_and_printed(scored, tmp_path, capsys):
    table, vectors = scored
    rows = pq.read_table(vectors)
    changed = rows["embedding"].to_pylist()
    changed[5], changed[6], changed[7] = [float("nan")] * 16, [0.0] * 16, None
    kind = pa.list_(pa.float32())
    pq.write_table(rows.set_column(1, "embedding", pa.array(changed, kind)).slice(0, 50), tmp_path / "some.parquet")
    assert atlas((table, tmp_path / "some.parquet"), tmp_path / "a") == 0
    expected = {"no_embedding": 6, "embedding_not_finite": 2, "embedding_zero": 1}
    summary = summary_of(tmp_path / "a")
    assert summary["left_out"] == expected
    assert summary["points"] + sum(expected.values()) == FACES
    printed = capsys.readouterr().out
    for reason, count in expected.items():
        assert re.search(rf"not on the map: {reason} +{count}\n", printed)


@pytest.mark.parametrize("rows", [0, 1, 2, 12])
def test_a_table_of_few_rows_has_a_whole_atlas(scored, tmp_path, rows):
    table = copy_with(scored[0] / "quality", tmp_path / "few", rows)
    assert atlas((table, scored[1]), tmp_path / "a") == 0
    frame = pd.read_parquet(tmp_path / "a" / "atlas.parquet")
    assert len(frame) == rows
    assert np.isfinite(frame[["x", "y"]]).all(axis=None)
    assert summary_of(tmp_path / "a")["method"] == ("t-SNE" if rows == 12 else "PCA")


def test_a_quality_that_is_not_a_number_is_null(scored, tmp_path):
    quality = pa.array([float("nan"), float("inf"), 0.5], pa.float32())
    table = copy_with(scored[0] / "quality", tmp_path / "nan", 3, quality=quality)
    assert atlas((table, scored[1]), tmp_path / "a") == 0
    assert pq.read_table(tmp_path / "a" / "atlas.parquet")["quality"].to_pylist() == [None, None, 0.5]


def test_images_that_are_gone_leave_points_that_say_why_and_exit_code_3(scored, tmp_path, capsys):
    table = copy_with(scored[0] / "quality", tmp_path / "gone", 12, shard=pa.array([str(tmp_path / "gone.tar")] * 12))
    assert atlas((table, scored[1]), tmp_path / "a") == 3
    frame = pd.read_parquet(tmp_path / "a" / "atlas.parquet")
    assert frame["thumbnail"].isna().all()
    assert frame["thumbnail_problem"].str.contains("gone.tar").all()
    assert summary_of(tmp_path / "a")["thumbnails_missing"] == 12
    assert "12 points have no picture" in capsys.readouterr().out


def test_a_second_run_with_other_settings_is_refused_without_overwrite(scored, tmp_path, caplog):
    output = tmp_path / "a"
    assert atlas(scored, output, "--sample", 12) == 0
    before = (output / "atlas.parquet").read_bytes()
    assert atlas(scored, output, "--sample", 12) == 2
    assert "holds an earlier run" in caplog.text
    assert atlas(scored, output, "--sample", 13, "--resume") == 2
    assert "settings.points: 12 then, 13 now" in caplog.text
    assert (output / "atlas.parquet").read_bytes() == before
    assert atlas(scored, output, "--sample", 13, "--overwrite") == 0
    assert summary_of(output)["points"] == 13


def test_a_finished_atlas_is_not_made_again_and_a_damaged_one_is(scored, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "a"
    assert atlas(scored, output, "--sample", 12) == 0
    whole = (output / "atlas.parquet").read_bytes()
    (output / "atlas.parquet").write_bytes(whole[:-9] + b"123456789")
    assert atlas(scored, output, "--sample", 12, "--resume") == 0
    assert (output / "atlas.parquet").read_bytes() == whole
    monkeypatch.setattr("pipelines.jobs.atlas_job.place", None)
    assert atlas(scored, output, "--sample", 12, "--resume") == 0
    assert "finished already" in caplog.text


def test_a_run_that_breaks_off_leaves_nothing_that_looks_whole_and_can_be_repeated(scored, tmp_path, monkeypatch):
    output = tmp_path / "a"
    with monkeypatch.context() as broken:
        broken.setattr("fiqa_core.atlas.table._thumbnail", lambda *_: 1 / 0)
        assert atlas(scored, output, "--sample", 12) == 4
    assert [path.name for path in output.iterdir() if path.name != "_tmp"] == ["run.json"]
    assert atlas(scored, output, "--sample", 14) == 0
    assert summary_of(output)["points"] == 14


def test_a_folder_with_a_users_files_is_refused(scored, tmp_path, caplog):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "atlas.parquet").write_bytes(b"mine")
    assert atlas(scored, tmp_path / "a", "--overwrite") == 2
    assert (tmp_path / "a" / "atlas.parquet").read_bytes() == b"mine"


def test_an_atlas_beside_shards_is_not_read_as_one(scored, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_tar(data / "faces.tar", [("a.jpg", b"not an image")])
    assert atlas(scored, data / "atlas", "--sample", 12) == 0
    assert score_dataset.run(["--input", str(data), "--output", str(tmp_path / "o")], MeanScorerSource()) == 0
    assert pd.read_parquet(tmp_path / "o" / "quality")["key"].tolist() == ["a"]


@pytest.mark.parametrize("name", ["embedding", "no_such_column"])
def test_columns_that_cannot_be_shown_are_refused_with_those_that_can(scored, tmp_path, caplog, name):
    assert atlas(scored, tmp_path / "a", "--columns", name) == 2
    assert f"--columns {name}" in caplog.text
    assert "width" in caplog.text


def test_without_embeddings_the_command_that_makes_them_is_named(scored, tmp_path, caplog):
    assert atlas_dataset.run(["--quality", str(scored[0]), "--output", str(tmp_path / "a")]) == 2
    assert "no embeddings: write them with" in caplog.text
    assert "embed_dataset" in caplog.text


def test_without_its_package_the_message_says_what_to_install(scored, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert atlas(scored, tmp_path / "a") == 2
    assert "pip install -e '.[atlas]'" in caplog.text
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("option", [("--seed", "4294967296"), ("--perplexity", "nan"), ("--side", "8")])
def test_numbers_out_of_range_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        atlas_dataset.run(["--quality", "q", "--output", "o", *option])
    assert option[0] in capsys.readouterr().err


def test_embeddings_of_an_npy_file_are_taken_and_a_changed_one_is_another_run(scored, tmp_path, caplog):
    keys = pd.read_parquet(scored[0] / "quality")["key"].tolist()
    (tmp_path / "keys.txt").write_text("\n".join(keys) + "\n")
    array = tmp_path / "e.npy"
    np.save(array, people_images(6, 10, dim=8)[0])
    words = ["--embedding-keys", tmp_path / "keys.txt"]
    assert atlas((scored[0], array), tmp_path / "a", *words) == 0
    assert summary_of(tmp_path / "a")["points"] == FACES
    np.save(array, people_images(6, 10, dim=8, seed=1)[0])
    assert atlas((scored[0], array), tmp_path / "a", *words, "--resume") == 2
    assert "embeddings.files" in caplog.text


@needs_shared
def test_real_faces_of_one_person_lie_together(tmp_path):
    faces = lfw_faces(2000)
    counts = pd.Series([face.label for face in faces]).value_counts()
    chosen = [face for face in faces if counts[face.label] >= 4][:120]
    members = [
        (f"{number}.{kind}", data)
        for number, face in enumerate(chosen)
        for kind, data in (("cls", face.label.encode()), ("jpg", face.data))
    ]
    shard = write_tar(tmp_path / "faces.tar", members)
    assert score_dataset.run(["--input", str(shard), "--output", str(tmp_path / "q")], MeanScorerSource()) == 0
    network = SHARED / "data" / "models" / "fr_mobilefacenet.onnx"
    words = ["--network", "mobilefacenet", "--model", network, "--input", shard, "--output", tmp_path / "e"]
    assert embed_dataset.run([str(word) for word in words]) == 0
    words = ["--quality", tmp_path / "q", "--embeddings", tmp_path / "e", "--output", tmp_path / "a", *OPTIONS]
    assert atlas_dataset.run([str(word) for word in words]) == 0
    frame = pd.read_parquet(tmp_path / "a" / "atlas.parquet")
    labels = frame["label"].to_numpy()
    several = frame.groupby("label")["label"].transform("size").to_numpy() >= 4
    xy = frame[["x", "y"]].to_numpy()
    distances = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    same = labels[distances.argmin(axis=1)] == labels
    assert same[several].mean() > 0.9
