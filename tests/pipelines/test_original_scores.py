"""original_scores: the original's folders and options, the original's scores."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fiqa_core.scoring.scorer import QualityScorer
from pipelines.original_scores import EXIT_BAD_INPUT, EXIT_INCOMPLETE, run
from tests.shared import GOLDEN, lfw_faces, needs_shared, write_golden_checkpoint

pytestmark = needs_shared
IMAGES = sorted(path.name for path in (GOLDEN / "images").iterdir()) if GOLDEN.exists() else []


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_golden_checkpoint("vit_t-token", folder / "model.pt")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    shutil.copytree(GOLDEN / "images", tmp_path / "data/images")
    lists(tmp_path / "data", "mine", [f"images/{name}" for name in IMAGES])
    return tmp_path / "data"


def lists(data: Path, dataset: str, paths: list[str]) -> None:
    folder = data / "quality_data" / dataset
    folder.mkdir(parents=True)
    (folder / "image_path_list.txt").write_text("".join(f"{path}\n" for path in paths))


def original(data: Path, model: Path, *options: str, datasets: str = "mine") -> int:
    return run(
        ["--data-dir", str(data), "--model_path", str(model), "--gpu_id", "-1", "--datasets", datasets, *options]
    )


def scores(file: Path) -> dict[str, float]:
    return {path: float(score) for path, score in (line.rsplit(" ", 1) for line in file.read_text().splitlines())}


@pytest.mark.parametrize(("channel", "golden"), [("RGB", "quality_rgb"), ("BGR", "quality_bgr_unswapped")])
def test_golden_images_get_the_originals_scores_for_either_color_channel(data, model, channel, golden):
    options = ["--score_file_name", "VIT.txt", "--color_channel", channel, "--backbone", "vit_FC", "--pairs", "p.txt"]
    assert original(data, model, *options) == 0
    found = scores(data / "quality_data_clean/mine/VIT_mine.txt")
    assert list(found) == [f"images/{name}" for name in IMAGES]  # as listed, in the list's order
    expected = json.loads((GOLDEN / "vit_t-token/expected.json").read_text())[golden]
    by_name = expected if isinstance(expected, dict) else dict(zip(IMAGES, expected, strict=True))
    for name in IMAGES:
        assert found[f"images/{name}"] == pytest.approx(by_name[name], abs=2e-4)


def test_a_file_of_another_size_is_resized_as_opencv_does(data, model):
    assert original(data, model, "--color_channel", "RGB") == 0
    found = scores(data / "quality_data_clean/mine/ViT-FIQA_mine.txt")
    scorer = QualityScorer.from_checkpoint(str(model), device="cpu")
    name = next(name for name in IMAGES if "250x250" in name)
    resized = cv2.resize(cv2.imread(str(data / "images" / name)), (112, 112), interpolation=cv2.INTER_LINEAR)
    assert found[f"images/{name}"] == pytest.approx(float(scorer.score([resized[:, :, ::-1]])[0]), abs=1e-5)


def test_an_earlier_score_file_is_replaced_and_not_appended_to(data, model):
    file = data / "quality_data_clean/mine/ViT-FIQA_mine.txt"
    assert original(data, model) == 0
    first = file.read_bytes()
    assert original(data, model) == 0
    assert file.read_bytes() == first
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # no leftovers in the original's folder


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_an_unreadable_image_is_named_and_its_dataset_gets_no_file(data, model, fault, caplog):
    lists(data, "bad", ["images/00_112x112.png", "images/torn.jpg"])
    if fault == "damaged":
        (data / "images/torn.jpg").write_bytes((data / "images/04_112x112.jpg").read_bytes()[:600])
    assert original(data, model, datasets="bad,mine") == EXIT_INCOMPLETE
    assert "bad: images/torn.jpg: " in caplog.text
    assert not (data / "quality_data_clean/bad").exists()
    assert len(scores(data / "quality_data_clean/mine/ViT-FIQA_mine.txt")) == len(IMAGES)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Twelve ordinary files, and the same written as the original's extraction scripts do."""
    root = tmp_path_factory.mktemp("faces")
    for key, _, stored in lfw_faces(12):
        pixels = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
        for folder, written in (("RGB", pixels), ("BGR", pixels[:, :, ::-1])):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / f"{key}.jpg"), written)
    for folder in ("RGB", "BGR"):
        lists(root, folder, [f"{folder}/{path.name}" for path in sorted((root / folder).iterdir())])
    return root


@pytest.mark.parametrize("files", ["RGB", "BGR"])
@pytest.mark.parametrize("channel", ["RGB", "BGR"])
def test_the_wrong_color_channel_is_warned_of_and_the_right_one_is_not(faces, model, files, channel, caplog):
    assert original(faces, model, "--color_channel", channel, datasets=files) == 0
    assert (f"--color_channel {files}" in caplog.text) == (files != channel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "none"], "Expected the list of the dataset's images"),
        (["--backbone", "iresnet50"], "holds vit_t"),
        (["--model_id", "77"], "there is no"),
        (["--gpu_id", "7"], "or run with --gpu_id -1"),
    ],
)
def test_what_is_not_there_is_an_error_before_anything_is_written(data, model, options, message, caplog):
    assert original(data, model, *options) == EXIT_BAD_INPUT
    assert any(word in caplog.text for word in message.split("|"))
    assert not (data / "quality_data_clean").exists()


def test_cr_fiqas_name_of_a_weights_file_is_found_by_its_id(data, model, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(model / "model.pt", folder / "181952backbone.pth")
    assert original(data, folder, "--model_id", "181952") == 0


@pytest.mark.parametrize("options", [["--datasets", "../x"], ["--gpu_id", "-2"], ["--score_file_name", "a/b"]])
def test_options_that_cannot_be_meant_are_refused(data, model, options):
    with pytest.raises(SystemExit) as ended:
        original(data, model, *options)
    assert ended.value.code == EXIT_BAD_INPUT
