"""`--measures`: the columns, their metadata, and rows without an image."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.images.components import component_measures
from fiqa_core.images.preprocess import prepare
from pipelines.score_dataset import EXIT_BAD_INPUT, run
from schemas.component_measures import COMPONENTS, LANDMARK_COMPONENTS, PIXEL_COMPONENTS, POSE
from tests.fakes import MeanScorerSource
from tests.makers.faces import lfw_faces
from tests.makers.photographs import needs_packaged_detector, photograph_files


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
        found = np.array([getattr(row, name) for name in PIXEL_COMPONENTS], np.float32)
        np.testing.assert_allclose(found, expected[row.key.removesuffix(".jpg")], rtol=1e-6)
    # Without them the table has other columns: the same run cannot go on.
    assert run([*words, "--resume"]) == EXIT_BAD_INPUT
    assert "measures" in caplog.text


def test_compression_is_read_off_the_tables_or_off_the_blocks_of_pixels_that_were_not_resized(tmp_path):
    (tmp_path / "in").mkdir()
    face = cv2.imdecode(np.frombuffer(lfw_faces(1)[0].data, np.uint8), cv2.IMREAD_COLOR)
    poor = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 12])[1]
    (tmp_path / "in" / "poor.jpg").write_bytes(poor.tobytes())
    stored_anew = cv2.imdecode(poor, cv2.IMREAD_COLOR)
    cv2.imwrite(str(tmp_path / "in" / "anew.png"), stored_anew)
    cv2.imwrite(str(tmp_path / "in" / "larger.png"), cv2.resize(stored_anew, (150, 150)))
    rows = {row["key"]: row for row in _scored(tmp_path, "--measures").to_pylist()}
    assert rows["poor.jpg"]["compression_quality"] == pytest.approx(12, abs=0.5)
    assert rows["anew.png"]["quantisation"] == 0
    assert rows["anew.png"]["compression_quality"] == pytest.approx(12, abs=6)
    assert rows["anew.png"]["blocking"] > 1.5
    assert rows["larger.png"]["blocking"] is rows["larger.png"]["compression_quality"] is None
    assert rows["larger.png"]["resolution"] is not None


@needs_packaged_detector
def test_with_align_pose_eyes_and_margins_are_columns_too_and_blocks_only_where_nothing_was_warped(tmp_path):
    (tmp_path / "in").mkdir()
    photo = photograph_files(1)[0]
    shutil.copy(photo, tmp_path / "in" / "photo.jpg")
    (tmp_path / "in" / "crop.jpg").write_bytes(lfw_faces(1)[0].data)
    cv2.imwrite(str(tmp_path / "in" / "none.png"), np.full((200, 300, 3), 90, np.uint8))
    table = _scored(tmp_path, "--measures", "--align")
    for name, component in (POSE | LANDMARK_COMPONENTS).items():
        metadata = table.schema.field(name).metadata
        assert metadata[b"description"].decode() == component.description
        assert metadata[b"unit"].decode() == component.unit
        assert metadata[b"direction"].decode() == (component.direction or "neither end is better")
    rows = {row["key"]: row for row in table.to_pylist()}
    for key, side in (("photo.jpg", 250), ("crop.jpg", 112)):
        row = rows[key]
        assert 0 < row["pose_yaw_quality"] <= 100
        assert row["pose_yaw_quality"] == pytest.approx(100 * np.cos(np.radians(row["pose_yaw"])) ** 2, abs=0.51)
        eyes = row["eye_distance"] / np.cos(np.radians(row["pose_yaw"]))
        assert row["inter_eye_distance"] == pytest.approx(eyes, abs=1.5)
        across = row["leftward_crop_of_the_face_image"] + row["rightward_crop_of_the_face_image"]
        assert across == pytest.approx(side / row["eye_distance"] + 1, rel=0.05)
    assert rows["photo.jpg"]["blocking"] is None
    assert rows["photo.jpg"]["compression_quality"] > 50  # its own tables
    assert rows["crop.jpg"]["blocking"] is not None
    assert all(rows["none.png"][name] is None for name in (*COMPONENTS, *LANDMARK_COMPONENTS, *POSE))


def test_without_align_there_are_no_columns_of_landmarks(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "crop.jpg").write_bytes(lfw_faces(1)[0].data)
    assert not {*LANDMARK_COMPONENTS, *POSE} & set(_scored(tmp_path, "--measures").column_names)


def _scored(folder, *options):
    words = ["--input", str(folder / "in"), "--output", str(folder / "out"), "--device", "cpu", *options]
    assert run(words, MeanScorerSource()) == 0
    (file,) = (folder / "out" / "quality").glob("*.parquet")
    return pq.read_table(file)
