"""`--align` in score_dataset and embed_dataset, and what a run without it says."""

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fiqa_core.alignment.template import TEMPLATE
from fiqa_core.images.preprocess import prepare
from fiqa_core.tables.footers import read_footer
from fiqa_core.tables.one_network import refuse_mixed
from fiqa_core.tables.quality_files import TableError
from pipelines import embed_dataset, score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.faces import lfw_faces
from tests.makers.onnx_models import write_linear
from tests.makers.photographs import float_model, needs_packaged_detector, photograph_files

pytestmark = needs_packaged_detector
FACES = (
    "faces",
    "face_score",
    "face_box",
    "landmarks",
    "eye_distance",
    "pose_yaw",
    "pose_pitch",
    "pose_roll",
    "warped",
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Photographs, aligned crops, a picture without a face, one with two, and a damaged one."""
    folder = tmp_path_factory.mktemp("mixed")
    for file in photograph_files(5):
        shutil.copy(file, folder / f"photo_{file.name}")
    for face in lfw_faces(3):
        (folder / f"crop_{face.key}.jpg").write_bytes(face.data)
    photograph = cv2.imread(str(photograph_files(1)[0]))
    cv2.imwrite(str(folder / "two.png"), np.hstack([photograph, photograph[:, ::-1]]))
    cv2.imwrite(str(folder / "none.png"), np.full((200, 300, 3), 90, np.uint8))
    (folder / "broken.jpg").write_bytes(photograph_files(1)[0].read_bytes()[:3000])
    return folder


def score(folder: Path, output: Path, *options: object) -> int:
    command = ["--input", folder, "--output", output, "--device", "cpu", *options]
    return score_dataset.run([str(part) for part in command], MeanScorerSource())


def rows(output: Path) -> dict[str, dict]:
    return {row["key"]: row for row in ds.dataset(output / "quality").to_table().to_pylist()}


def summary(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())


def as_skimage_aligns(picture: np.ndarray, landmarks: list[float]) -> np.ndarray:
    estimate = pytest.importorskip("skimage.transform").SimilarityTransform.from_estimate
    matrix = estimate(np.reshape(landmarks, (5, 2)), TEMPLATE).params[:2]
    return cv2.warpAffine(picture, matrix, (112, 112))


def test_each_picture_is_one_row_with_its_face_or_the_reason_why_not(tmp_path, mixed, caplog):
    with caplog.at_level(logging.INFO):
        assert score(mixed, tmp_path / "out", "--align") == score_dataset.EXIT_OK
    found = rows(tmp_path / "out")
    assert len(found) == len(list(mixed.iterdir()))
    for key, row in found.items():
        if key.startswith(("photo", "crop")):
            assert row["status"] == "scored"
            assert row["warped"] is key.startswith("photo")
            assert len(row["face_box"]) == 4
            assert row["eye_distance"] == pytest.approx(
                np.hypot(row["landmarks"][2] - row["landmarks"][0], row["landmarks"][3] - row["landmarks"][1])
            )
            assert 0.7 <= row["face_score"] <= 1
            assert abs(row["pose_yaw"]) < 90
        else:
            assert row["quality"] is None
            assert all(row[name] is None for name in FACES)
    assert found["none.png"]["status"] == "no_face"
    assert found["two.png"]["status"] == "several_faces"
    assert (found["two.png"]["width"], found["two.png"]["height"]) == (500, 250)
    assert found["broken.jpg"]["status"] == "truncated"
    assert "aligned: 5 warped, 3 aligned already and used as they are" in caplog.text
    said = summary(tmp_path / "out")
    assert said["pictures"]["warped"] == 5
    assert said["pictures"]["aligned_already"] == 3
    assert "first_look" not in said["pictures"]


def test_what_is_scored_is_the_aligned_face_and_an_aligned_crop_as_it_is(tmp_path, mixed):
    assert score(mixed, tmp_path / "out", "--align") == score_dataset.EXIT_OK
    found = rows(tmp_path / "out")
    for key, row in found.items():
        data = (mixed / key).read_bytes()
        if key.startswith("crop"):
            assert row["quality"] == pytest.approx(prepare(data).pixels.mean() / 255, abs=1e-6)
        if key.startswith("photo"):
            picture = cv2.cvtColor(cv2.imread(str(mixed / key)), cv2.COLOR_BGR2RGB)
            assert row["quality"] == pytest.approx(as_skimage_aligns(picture, row["landmarks"]).mean() / 255, abs=2e-3)


def test_the_rule_and_the_detector_are_settings_that_a_resume_holds_to(tmp_path, mixed, caplog):
    output = tmp_path / "out"
    assert score(mixed, output, "--align", "--detector", float_model(), "--faces", "one") == score_dataset.EXIT_OK
    (file,) = (output / "quality").glob("*.parquet")
    metadata = pq.read_metadata(file).metadata
    assert metadata[b"fiqa.faces"] == b"one"
    settings = summary(output)["settings"]["align"]
    assert metadata[b"fiqa.detector_sha256"].decode() == settings["detector_sha256"]
    for options, difference in (
        (["--align", "--faces", "one"], "align.detector_sha256: "),
        (["--align", "--detector", float_model()], "align.faces: one then, centre now"),
        ([], "align.faces: one then, None now"),
    ):
        caplog.clear()
        assert score(mixed, output, "--resume", *options) == score_dataset.EXIT_BAD_INPUT
        assert difference in caplog.text
    moved = shutil.copy(float_model(), tmp_path / "moved.onnx")
    assert score(mixed, output, "--resume", "--align", "--detector", moved, "--faces", "one") == score_dataset.EXIT_OK


def test_without_align_a_run_says_that_its_pictures_are_not_aligned_crops(tmp_path, mixed, caplog):
    assert score(mixed, tmp_path / "out") == score_dataset.EXIT_OK
    assert "6 of 10 are not aligned crops (in 1 of 10 pictures no face was found); scores of such" in caplog.text
    assert "8 of 11 pictures are not 112 x 112 pixels and were resized" in caplog.text
    pictures = summary(tmp_path / "out")["pictures"]
    assert pictures["share_not_112x112"] == pytest.approx(8 / 11, abs=1e-4)
    assert pictures["first_look"]["not_aligned"] == 6
    assert not set(FACES) & set(next(iter(rows(tmp_path / "out").values())))


def test_aligned_crops_are_scored_without_a_warning(tmp_path, caplog):
    folder = tmp_path / "crops"
    folder.mkdir()
    for face in lfw_faces(12):
        (folder / f"{face.key}.jpg").write_bytes(face.data)
    assert score(folder, tmp_path / "out") == score_dataset.EXIT_OK
    assert "--align" not in caplog.text
    pictures = summary(tmp_path / "out")["pictures"]
    assert pictures["not_112x112"] == 0
    assert pictures["first_look"] == {"looked_at": 12, "not_aligned": 0, "no_face": 0, "warning": None}


def test_embeddings_are_of_the_aligned_face_too(tmp_path, mixed):
    model = write_linear(tmp_path / "fr.onnx", (2, 3, 112, 112))
    command = ["--input", mixed, "--model", model, "--device", "cpu"]
    vectors = {}
    for name, options in {"aligned": ["--align", "--faces", "largest"], "as_is": []}.items():
        given = [str(part) for part in [*command, "--output", tmp_path / name, *options]]
        assert embed_dataset.run(given) == embed_dataset.EXIT_OK
        vectors[name] = rows(tmp_path / name)
    for key, row in vectors["aligned"].items():
        before = vectors["as_is"][key]["embedding"]
        if key.startswith("crop"):
            np.testing.assert_allclose(row["embedding"], before, atol=1e-6)
        if key.startswith("photo"):
            assert np.abs(np.subtract(row["embedding"], before)).max() > 1e-3
            assert row["pose_yaw"] is not None
    footers = [read_footer(str(next((tmp_path / name / "quality").iterdir()))) for name in vectors]
    refuse_mixed(footers, {}, embeddings_only=True)  # photographs against a set that is aligned already
    with pytest.raises(TableError, match=r"align\.faces: largest in .*, none in"):
        refuse_mixed(footers, {}, embeddings_only=False)


@pytest.mark.parametrize("options", [["--faces", "largest"], ["--detector", "yunet.onnx"]])
def test_options_of_alignment_without_align_are_refused(tmp_path, mixed, options, caplog):
    assert score(mixed, tmp_path / "out", *options) == score_dataset.EXIT_BAD_INPUT
    assert f"{options[0]}: only used with --align" in caplog.text


def test_every_face_of_a_picture_is_refused_where_a_record_is_one_row(tmp_path, mixed, capsys):
    with pytest.raises(SystemExit):
        score(mixed, tmp_path / "out", "--align", "--faces", "all")
    assert "'centre', 'largest', 'one'" in capsys.readouterr().err


def test_a_detector_that_is_not_one_ends_the_run_before_anything_is_written(tmp_path, mixed, caplog):
    (tmp_path / "no.onnx").write_bytes(b"no model")
    options = ["--align", "--detector", tmp_path / "no.onnx"]
    assert score(mixed, tmp_path / "out", *options) == score_dataset.EXIT_BAD_INPUT
    assert "cannot run it as a face detector" in caplog.text
    assert not (tmp_path / "out").exists()
