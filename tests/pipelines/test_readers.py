"""The quality table as other people's readers see it, and Parquet input as `datasets` writes it."""

import datasets
import duckdb
import pandas as pd
import polars
import pytest

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
