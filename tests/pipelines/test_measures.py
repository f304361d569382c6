"""`--measures`: the columns, their metadata, and rows without an image."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fiqa_core.images.components import component_measures
from fiqa_core.images.preprocess import prepare
from pipelines.score_dataset import EXIT_BAD_INPUT, run
from schemas.component_measures import COMPONENTS
from tests.makers.faces import lfw_faces


def test_measures_are_columns_with_unit_and_direction_in_the_same_pass(tmp_path, caplog):
    faces = lfw_faces(5)
    (tmp_path / "in").mkdir()
    for face in faces:
        (tmp_path / "in" / f"{face.key}.jpg").write_bytes(face.data)
    (tmp_path / "in" / "zz_broken.jpg").write_bytes(b"not an image")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert run([*words, "--measures"]) == 0
    (file,) = (tmp_path / "out" / "quality").glob("*.parquet")
    schema = pq.read_schema(file)
    for name, component in COMPONENTS.items():
        metadata = schema.field(name).metadata
        assert metadata[b"unit"].decode() == component.unit
        assert metadata[b"direction"].decode() == (component.direction or "neither end is better")
    table = pd.read_parquet(file).sort_values("key")
    assert table[list(COMPONENTS)].iloc[-1].isna().all()
    expected = {face.key: component_measures(prepare(face.data).pixels[None])[0] for face in faces}
    for row in table.iloc[:-1].itertuples():
        found = np.array([getattr(row, name) for name in COMPONENTS], np.float32)
        np.testing.assert_allclose(found, expected[row.key.removesuffix(".jpg")], rtol=1e-6)
    # Without them the table has other columns: the same run cannot go on.
    assert run([*words, "--resume"]) == EXIT_BAD_INPUT
    assert "measures" in caplog.text
