"""The quality table as other people's readers see it, and Parquet input as `datasets` writes it."""

from hashlib import sha256

import datasets
import duckdb
import pandas as pd
import polars
import pytest

from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.preprocess import prepare
from pipelines.filter_dataset import run as filter_dataset
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.shared import lfw_faces, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Table of 20 faces that `datasets` wrote as Parquet, with an Image feature."""
    root = tmp_path_factory.mktemp("readers")
    faces = lfw_faces(20)
    rows = {
        "image": [{"bytes": data, "path": f"{key}.jpg"} for key, _, data in faces],
        "label": [int(label) for _, label, _ in faces],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(root / "faces.parquet")
    assert run(["--input", str(root / "faces.parquet"), "--output", str(root / "out")], MeanScorerSource()) == 0
    return root / "out"


def test_pandas_duckdb_polars_and_datasets_read_the_same_rows(output, tmp_path):
    faces = lfw_faces(20)
    pattern = str(output / "quality" / "*.parquet")
    frame = pd.read_parquet(output / "quality")
    assert frame.key.tolist() == [f"{key}.jpg" for key, _, _ in faces]
    assert frame.label.tolist() == [label for _, label, _ in faces]
    assert set(frame.status) == {"scored"}
    quality = frame.quality.tolist()
    assert [q for (q,) in duckdb.sql(f"select quality from '{pattern}' order by index").fetchall()] == quality
    assert polars.read_parquet(pattern)["quality"].to_list() == quality
    loaded = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path))
    assert list(loaded["quality"]) == quality
    assert list(loaded["sha256"]) == frame.sha256.tolist()


@pytest.fixture(scope="module")
def hashed(tmp_path_factory):
    """A table with the columns of --phash, in which one image has none; filtered, and written as a folder."""
    root = tmp_path_factory.mktemp("hashed")
    (root / "in").mkdir()
    for key, _, data in lfw_faces(6):
        (root / "in" / f"{key}.jpg").write_bytes(data)
    (root / "in" / "broken.jpg").write_bytes(b"no image")
    source = ["--input", str(root / "in"), "--output", str(root / "out"), "--phash"]
    assert run(source, MeanScorerSource()) == 0
    assert filter_dataset(["--quality", str(root / "out"), "--output", str(root / "kept"), "--write", "folder"]) == 0
    return root


def test_hashes_digests_and_thumbnails_are_read_unrounded_by_everybody(hashed, tmp_path):
    pattern = str(hashed / "out" / "quality" / "*.parquet")
    expected = {
        f"{key}.jpg": (f"{perceptual_hash(prepare(data).pixels):016x}", sha256(data).digest(), 1024)
        for key, _, data in lfw_faces(6)
    } | {"broken.jpg": (None, sha256(b"no image").digest(), 0)}

    def rows(found):
        return {
            row["key"]: (None if pd.isna(row["phash"]) else row["phash"], row["sha256"], len(row["thumb"] or b""))
            for row in found
        }

    assert rows(pd.read_parquet(hashed / "out" / "quality").to_dict("records")) == expected
    assert rows(polars.read_parquet(pattern).to_dicts()) == expected
    assert rows(duckdb.sql(f"select * from '{pattern}'").to_arrow_table().to_pylist()) == expected
    loaded = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path))
    assert rows(loaded) == expected
    assert loaded.features["sha256"] == datasets.Value("binary")


def test_datasets_open_decisions_and_the_index_of_a_subset(hashed, tmp_path):
    for folder, rows in {"decisions": 7, "subset/index": 6}.items():
        pattern = str(hashed / "kept" / folder / "*.parquet")
        loaded = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path / folder))
        assert len(loaded) == rows
        assert loaded.features["sha256"] == datasets.Value("binary")


def test_whole_numbers_with_gaps_stay_whole_in_pandas_nullable_types(hashed):
    frame = pd.read_parquet(hashed / "out" / "quality", dtype_backend="numpy_nullable")
    assert str(frame.width.dtype) == "Int32"
    assert frame.query("status != 'scored'").width.isna().all()
