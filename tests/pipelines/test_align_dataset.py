"""align_dataset as a user calls it: photographs in, tars of aligned crops and a table of detections out."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow.dataset as ds
import pytest
import webdataset
from PIL import Image

from pipelines import align_dataset, score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.faces import lfw_faces
from tests.makers.photographs import needs_packaged_detector, photograph_files

pytestmark = needs_packaged_detector


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """By identity: four photographs, an aligned crop, one with two faces, and one without."""
    folder = tmp_path_factory.mktemp("photos")
    files = photograph_files(4)
    for file in files:
        (folder / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, folder / file.parent.name / file.name)
    (folder / "Crop").mkdir()
    (folder / "Crop" / "aligned.jpg").write_bytes(lfw_faces(1)[0].data)
    photograph = cv2.imread(str(files[0]))
    (folder / "Two").mkdir()
    cv2.imwrite(str(folder / "Two" / "both.png"), np.hstack([photograph, photograph[:, ::-1]]))
    cv2.imwrite(str(folder / "Two" / "none.png"), np.full((200, 300, 3), 90, np.uint8))
    return folder


def align(folder: Path, output: Path, *options: object) -> int:
    return align_dataset.run([str(part) for part in ["--input", folder, "--output", output, *options]])


def rows(output: Path) -> dict[str, dict]:
    return {row["key"]: row for row in ds.dataset(output / "quality").to_table().to_pylist()}


def members(output: Path) -> dict[str, bytes]:
    found = {}
    for tar in sorted((output / "crops").iterdir()):
        with tarfile.open(tar) as archive:
            found |= {member.name: archive.extractfile(member).read() for member in archive}
    return found


def written(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for name in ("crops", "quality")
        for path in (output / name).iterdir()
    }


@pytest.fixture(scope="module")
def output(photos, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("aligned") / "out"
    assert align(photos, place, "--unit-size", 3) == align_dataset.EXIT_OK
    return place


def test_each_record_is_one_row_and_each_aligned_face_a_sample_with_its_label(photos, output):
    found, files = rows(output), members(output)
    assert sorted(found) == sorted(str(path.relative_to(photos)) for path in photos.rglob("*.*"))
    keys = []
    for key, row in found.items():
        if key == "Two/none.png":
            assert row["status"] == "no_face"
        elif key == "Two/both.png":
            assert row["status"] == "several_faces"
        else:
            assert row["status"] == "aligned"
            assert row["quality"] is None
            keys += row["crops"]
            assert row["crops"] == [key.rpartition(".")[0]]
            assert files[f"{row['crops'][0]}.cls"].decode() == row["label"]
            about = json.loads(files[f"{row['crops'][0]}.json"])
            assert about["warped"] is row["warped"]
            np.testing.assert_allclose(np.ravel(about["landmarks"]), row["landmarks"], atol=1e-3)
            continue
        assert row["crops"] is None
    assert len(files) == 3 * len(keys)


def test_crops_are_lossless_112_pixels_and_an_aligned_crop_keeps_its_bytes(photos, output):
    files = members(output)
    assert files["Crop/aligned.jpg"] == (photos / "Crop" / "aligned.jpg").read_bytes()
    pictures = {name: data for name, data in files.items() if name.endswith(".png")}
    assert len(pictures) == 4
    for data in pictures.values():
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size, image.mode) == ("PNG", (112, 112), "RGB")


def test_crops_score_as_their_photographs_do_with_align(photos, output, tmp_path):
    common = ["--device", "cpu", "--output"]
    crops, raw = tmp_path / "crops", tmp_path / "raw"
    assert score_dataset.run(["--input", str(output / "crops"), *common, str(crops)], MeanScorerSource()) == 0
    assert score_dataset.run(["--input", str(photos), "--align", *common, str(raw)], MeanScorerSource()) == 0
    direct = {key.rpartition(".")[0]: row for key, row in rows(raw).items()}
    again = rows(crops)
    assert len(again) == 5
    for key, row in again.items():
        assert row["quality"] == direct[key]["quality"]
        assert row["label"] == direct[key]["label"]


def test_the_tars_are_read_by_webdataset(output):
    tars = [str(path) for path in sorted((output / "crops").iterdir())]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8", only=["png", "jpg"]))
    assert len(samples) == 5
    for sample in samples:
        picture = sample.get("png", sample.get("jpg"))
        assert picture.shape == (112, 112, 3)


def test_a_run_that_lost_a_tar_or_a_table_is_resumed_to_the_same_bytes(photos, output, tmp_path):
    place = tmp_path / "out"
    shutil.copytree(output, place)
    before = written(place)
    lost = sorted(before)
    for name in (lost[0], lost[-1]):
        os.remove(place / name)  # noqa: PTH107
    assert align(photos, place, "--unit-size", 3, "--resume") == align_dataset.EXIT_OK
    assert written(place) == before
    assert align(photos, place, "--unit-size", 3, "--resume", "--faces", "all") == align_dataset.EXIT_BAD_INPUT


def test_every_face_of_a_picture_is_written_where_it_is_asked_for(photos, tmp_path):
    place = tmp_path / "out"
    assert align(photos, place, "--faces", "all", "--image-format", "jpeg") == align_dataset.EXIT_OK
    row = rows(place)["Two/both.png"]
    assert row["status"] == "aligned"
    assert row["faces"] == 2
    assert row["crops"] == ["Two/both_1", "Two/both_2"]
    files = members(place)
    boxes = [json.loads(files[f"{key}.json"])["face_box"] for key in row["crops"]]
    assert abs(boxes[0][0] - boxes[1][0]) > 100
    assert Image.open(io.BytesIO(files["Two/both_1.jpg"])).format == "JPEG"


def test_of_a_crowd_the_surest_hundred_faces_are_written_and_the_row_says_so(tmp_path):
    folder = tmp_path / "crowd"
    folder.mkdir()
    face = cv2.resize(cv2.imread(str(photograph_files(1)[0]))[60:190, 65:195], (64, 64), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "crowd.png"), np.tile(face, (11, 11, 1)))
    assert align(folder, tmp_path / "out", "--faces", "all") == align_dataset.EXIT_OK
    (row,) = rows(tmp_path / "out").values()
    assert len(row["crops"]) == 100
    assert row["faces"] > 100
    assert row["message"] == f"the surest 100 of {row['faces']} faces were written"


def test_overwriting_removes_the_crops_and_nothing_that_is_not_the_runs(photos, output, tmp_path):
    place = tmp_path / "out"
    shutil.copytree(output, place)
    (place / "crops" / "notes.txt").write_text("mine")
    assert align(photos, place, "--overwrite", "--unit-size", 100) == align_dataset.EXIT_BAD_INPUT
    (place / "crops" / "notes.txt").unlink()
    assert align(photos, place, "--overwrite", "--unit-size", 100) == align_dataset.EXIT_OK
    assert len(list((place / "crops").iterdir())) == 1
    assert members(place) == members(output)


@pytest.mark.parametrize("options", [["--jpeg-quality", "80"], ["--image-format", "jpeg", "--jpeg-quality", "101"]])
def test_a_jpeg_quality_that_means_nothing_is_refused(photos, tmp_path, options, caplog):
    assert align(photos, tmp_path / "out", *options) == align_dataset.EXIT_BAD_INPUT
    assert "--jpeg-quality" in caplog.text
