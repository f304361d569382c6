"""QualityScorer: memory that runs out, devices that are missing, the Python API."""

import numpy as np
import pytest
import torch
from PIL import Image

from fiqa_core import ImageRejected, QualityScorer
from fiqa_core.devices import DeviceError, resolve_device
from schemas.reasons import Status
from tests.shared import GOLDEN, needs_shared, write_golden_checkpoint

pytestmark = needs_shared


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> QualityScorer:
    path = write_golden_checkpoint("vit_t-token", tmp_path_factory.mktemp("w") / "model.pt")
    return QualityScorer.from_checkpoint(str(path), device="cpu", batch_size=8)


def test_paths_images_and_arrays_score_alike(scorer):
    path = GOLDEN / "images" / "00_112x112.png"
    image = Image.open(path)
    scores = scorer.score([path, str(path), image, np.asarray(image)])
    assert scores.dtype == np.float32
    assert np.ptp(scores) <= 1e-6
    assert scorer.score([]).shape == (0,)


def test_out_of_memory_halves_the_batch_and_goes_on(scorer, monkeypatch):
    forward, sizes = scorer._forward, []

    def small_memory(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return forward(pixels)

    pixels = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), np.uint8)
    expected = scorer.score_pixels(pixels).quality
    monkeypatch.setattr(scorer, "_forward", small_memory)
    monkeypatch.setattr(scorer, "batch_size", 8)
    np.testing.assert_allclose(scorer.score_pixels(pixels).quality, expected, atol=1e-5)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_a_device_that_is_missing_is_an_error():
    with pytest.raises(DeviceError, match="cuda:99"):
        resolve_device("cuda:99")
    with pytest.raises(DeviceError, match="expected auto"):
        resolve_device("tpu")


def test_one_image_instead_of_a_list_is_refused_and_not_taken_apart(scorer):
    path = GOLDEN / "images" / "00_112x112.png"
    image = Image.open(path)
    for one in (str(path), path, path.read_bytes(), image, np.asarray(image)):
        with pytest.raises(TypeError, match=r"score\(\[image\]\)"):
            scorer.score(one)
    array = np.asarray(image)
    several = scorer.score(np.stack([array, array]))
    assert several.shape == (2,)
    assert scorer.score(np.array([str(path)])).shape == scorer.score(iter([path])).shape == (1,)


def test_what_cannot_be_scored_is_named_by_its_place(scorer, tmp_path):
    good, small = np.zeros((112, 112, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    for bad in (small, Image.fromarray(small)):
        with pytest.raises(ImageRejected, match=r"image 2: .*4 x 4 pixels") as caught:
            scorer.score([good, good, bad])
        assert (caught.value.status, caught.value.width) == (Status.TOO_SMALL, 4)
    Image.fromarray(small).save(tmp_path / "small.png")
    with pytest.raises(ImageRejected, match=r"image 1: .*small\.png: the image is 4 x 4"):
        scorer.score([good, Image.open(tmp_path / "small.png")])
    with pytest.raises(TypeError, match=r"image 1: expected a path.*got <class 'int'>"):
        scorer.score([good, 5])


def test_an_image_that_cannot_be_used_is_nan_where_that_is_asked_for(scorer, tmp_path, caplog):
    good, small = np.asarray(Image.open(GOLDEN / "images" / "00_112x112.png")), np.zeros((4, 4, 3), np.uint8)
    (tmp_path / "text.jpg").write_text("no image")
    images = [small, *[good] * 9, tmp_path / "text.jpg", tmp_path / "gone.jpg", good]
    scores = scorer.score(images, errors="nan")
    assert np.isnan(scores).tolist() == [True, *[False] * 9, True, True, False]
    np.testing.assert_allclose(scores[[1, 12]], scorer.score([good, good]), atol=1e-5)
    assert "image 0: " in caplog.text
    assert "gone.jpg" in caplog.text
    assert np.isnan(scorer.score([small], errors="nan")).all()
    with pytest.raises(ValueError, match="errors is 'skip'; expected 'raise' or 'nan'"):
        scorer.score([good], errors="skip")
    with pytest.raises(TypeError, match="image 0"):
        scorer.score([5], errors="nan")


def test_a_path_instead_of_a_loaded_network_says_what_to_call():
    with pytest.raises(TypeError, match=r"QualityScorer\.from_checkpoint\('m\.pt'\)"):
        QualityScorer("m.pt")


@pytest.mark.parametrize("size", [-1, 0, 2.5, "8"])
def test_a_batch_size_that_is_none_is_refused(scorer, size):
    with pytest.raises(ValueError, match=r"batch_size is .*expected a whole number of at least 1"):
        QualityScorer(scorer.loaded, device="cpu", batch_size=size)
