"""QualityScorer: memory that runs out, devices that are missing, the Python API."""

import numpy as np
import pytest
import torch
from PIL import Image

from fiqa_core import QualityScorer
from fiqa_core.scoring.devices import DeviceError, resolve_device
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
