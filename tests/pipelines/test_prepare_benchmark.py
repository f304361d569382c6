"""prepare_benchmark: .bin sets, XQLFW-like pair lists and IJB-C's meta files become folders that evaluations read."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fiqa_core.evaluation.pairs import read_pairs
from fiqa_core.evaluation.templates import read_templates
from pipelines import evaluate_quality, measure_baselines
from pipelines.prepare_benchmark import EXIT_BAD_INPUT, run
from tests.shared import SHARED, lfw_faces, needs_shared

pytestmark = needs_shared
BIN = SHARED / "data/native/mxnet_made/pairs60.bin"
MODEL = SHARED / "data/models/fr_edgeface_xxs.onnx"


def prepare(data: Path, name: str, *options: object) -> int:
    return run(["--data-dir", str(data), "--name", name, *map(str, options)])


def measure(images: Path, output: Path) -> None:
    assert measure_baselines.run(["--measure", "laplacian", "--input", str(images), "--output", str(output)]) == 0


def unpickled(path: Path) -> tuple[list[bytes], list[bool]]:
    images, same = pickle.loads(path.read_bytes(), encoding="bytes")  # noqa: S301  # a file of our own materials
    return [bytes(image) for image in images], [bool(value) for value in same]


@pytest.mark.parametrize("file", ["mxnet_made/pairs60.bin", "insightface_paddle/small_lfw.bin"])
def test_a_bin_becomes_its_images_byte_for_byte_and_its_pairs(tmp_path, file):
    path = SHARED / "data/native" / file
    assert prepare(tmp_path, "lfw", "--pairs", path) == 0
    folder = tmp_path / "quality_data/lfw"
    images, same = unpickled(path)
    listed = (folder / "image_path_list.txt").read_text().split()
    assert [(tmp_path / line).read_bytes() for line in listed] == images
    stems = [Path(line).stem for line in listed]
    pairs = read_pairs(str(folder / "pair_list.txt"))
    assert [(pairs.names[a], pairs.names[b]) for a, b in zip(pairs.a, pairs.b, strict=True)] == [
        (stems[2 * n], stems[2 * n + 1]) for n in range(len(same))
    ]
    assert pairs.mated.tolist() == same
    assert sorted(path.name for path in folder.iterdir()) == ["image_path_list.txt", "images", "pair_list.txt"]
    assert [path.name for path in folder.parent.iterdir()] == ["lfw"]


@pytest.fixture
def people(tmp_path) -> Path:
    """Ann and Bob with two images each, in LFW's folders."""
    for place, (_, _, data) in enumerate(lfw_faces(4)):
        name = ("Ann", "Bob")[place // 2]
        path = tmp_path / "faces" / name / f"{name}_{place % 2 + 1:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "faces"


def test_xqlfws_pair_list_becomes_names_of_copied_images(tmp_path, people):
    (tmp_path / "xqlfw_pairs.txt").write_text("1\t2\nAnn\t1\t2\nBob\t1\t2\nAnn\t1\tBob\t2\nAnn\t2\tBob\t1\n")
    assert prepare(tmp_path, "XQLFW", "--pairs", tmp_path / "xqlfw_pairs.txt", "--images", people) == 0
    folder = tmp_path / "quality_data/XQLFW"
    assert (folder / "pair_list.txt").read_text().splitlines() == [
        "Ann/Ann_0001 Ann/Ann_0002 1",
        "Bob/Bob_0001 Bob/Bob_0002 1",
        "Ann/Ann_0001 Bob/Bob_0002 0",
        "Ann/Ann_0002 Bob/Bob_0001 0",
    ]
    for line in (folder / "image_path_list.txt").read_text().split():
        below = line.removeprefix("quality_data/XQLFW/images/")
        assert (tmp_path / line).read_bytes() == (people / below).read_bytes()


def test_ijbcs_meta_files_become_pairs_of_templates(tmp_path, people):
    (tmp_path / "tid_mid.txt").write_text(
        "Ann/Ann_0001.jpg 10 7\nAnn/Ann_0002.jpg 11 8\nBob/Bob_0001.jpg 20 9\nBob/Bob_0002.jpg 20 9\n"
    )
    (tmp_path / "label.txt").write_text("10 11 1\n10 20 0\n")
    options = ["--pairs", tmp_path / "label.txt", "--templates", tmp_path / "tid_mid.txt", "--images", people]
    assert prepare(tmp_path, "IJBC", *options) == 0
    folder = tmp_path / "quality_data/IJBC"
    assert (folder / "pair_list.txt").read_text() == "10 11 1\n10 20 0\n"
    found = read_templates(str(folder / "templates.txt"))
    assert found.names == ["10", "11", "20"]
    assert found.images == ["Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "Bob/Bob_0002"]
    assert found.media.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("Ann/Ann_0001 Ann/Ann_0009 1\n", ["--images", "faces"], "the image 'Ann/Ann_0009' is not in"),
        ("../x Ann/Ann_0001 1\n", ["--images", "faces"], "points out of the folder"),
        ("Ann/Ann_0001 Ann/Ann_0002 1\n", [], "where are the images"),
        ("Ann Bob\n", ["--images", "faces"], "line 1"),
    ],
)
def test_what_cannot_be_prepared_is_named_and_leaves_no_folder(tmp_path, people, text, options, message, caplog):
    (tmp_path / "pairs.txt").write_text(text)
    options = [str(people) if option == "faces" else option for option in options]
    assert prepare(tmp_path, "mine", "--pairs", tmp_path / "pairs.txt", *options) == EXIT_BAD_INPUT
    assert message in caplog.text
    assert not (tmp_path / "quality_data/mine").exists()


def test_a_damaged_bin_and_a_folder_that_exists_are_refused(tmp_path, caplog):
    (tmp_path / "torn.bin").write_bytes(BIN.read_bytes()[:-2000])
    assert prepare(tmp_path, "lfw", "--pairs", tmp_path / "torn.bin") == EXIT_BAD_INPUT
    assert not (tmp_path / "quality_data/lfw").exists()
    assert prepare(tmp_path, "lfw", "--pairs", BIN) == 0
    assert prepare(tmp_path, "lfw", "--pairs", BIN) == EXIT_BAD_INPUT
    assert "exists already" in caplog.text


def test_an_evaluation_takes_a_bin_as_pairs_and_images_at_once_and_equals_the_folder(tmp_path):
    measure(BIN, tmp_path / "q")
    options = ["--embeddings", f"fr={MODEL}", "--onnx-mean", "127.5", "--onnx-std", "127.5", "--no-plots"]
    options += ["--fmr", "0.1", "--random-seeds", "1", "--bootstrap", "3"]
    places = ["--quality", f"sharp={tmp_path / 'q'}", "--pairs", f"set={BIN}"]
    assert evaluate_quality.run([*options, *places, "--output", str(tmp_path / "a")]) == 0
    assert prepare(tmp_path, "set", "--pairs", BIN) == 0
    folder = tmp_path / "quality_data/set"
    assert (
        measure_baselines.run(["--measure", "laplacian", "--input", str(folder), "--output", str(tmp_path / "p")]) == 0
    )
    assert set(pd.read_parquet(tmp_path / "p/quality").label) == {"images"}  # a folder's name, and nobody's
    places = ["--quality", f"sharp={tmp_path / 'p'}", "--pairs", f"set={folder / 'pair_list.txt'}"]
    places += ["--images", f"set={folder}"]
    assert evaluate_quality.run([*options, *places, "--output", str(tmp_path / "b")]) == 0
    first, second = (pd.read_csv(tmp_path / name / "auc.csv") for name in "ab")
    pd.testing.assert_frame_equal(first, second)
    described = [json.loads((tmp_path / name / "evaluation.json").read_text())["datasets"][0] for name in "ab"]
    assert described[0]["subjects"] == described[1]["subjects"] > 1


def test_numpy_images_of_older_bins_are_the_same_bytes(tmp_path):
    images = [cv2.imencode(".png", np.full((20, 20, 3), n, np.uint8))[1].reshape(-1) for n in range(4)]
    (tmp_path / "old.bin").write_bytes(pickle.dumps((images, [True, False]), protocol=2))
    assert prepare(tmp_path, "old", "--pairs", tmp_path / "old.bin") == 0
    written = sorted((tmp_path / "quality_data/old/images").iterdir())
    assert [path.name for path in written] == [f"{n}.png" for n in range(4)]
    assert [path.read_bytes() for path in written] == [image.tobytes() for image in images]
