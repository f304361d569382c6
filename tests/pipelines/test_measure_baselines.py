"""Simple measures go through the scoring job and give a quality table like a network's."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.tables import load_quality
from pipelines.measure_baselines import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sharp image, the same blurred, and one that is no image."""
    place = tmp_path_factory.mktemp("faces")
    sharp = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    for name, pixels in (("sharp", sharp), ("blurred", cv2.GaussianBlur(sharp, (0, 0), 3))):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (place / f"{name}.png").write_bytes(stream.getvalue())
    (place / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return place


def measured(folder, output, measure):
    assert run(["--measure", measure, "--input", str(folder), "--output", str(output)]) == 0
    return load_quality(str(output)).set_index("key")


def test_sharpness_is_the_variance_of_the_laplacian(folder, tmp_path):
    table = measured(folder, tmp_path / "out", "laplacian")
    grey = cv2.cvtColor(np.asarray(Image.open(folder / "sharp.png")), cv2.COLOR_RGB2GRAY)
    assert table.quality["sharp.png"] == pytest.approx(cv2.Laplacian(grey, cv2.CV_64F).var(), rel=1e-6)
    assert table.quality["blurred.png"] < table.quality["sharp.png"]
    assert table.status["torn.png"] != "scored"
    assert np.isnan(table.quality["torn.png"])


def test_the_stored_size_is_that_of_the_file(folder, tmp_path):
    table = measured(folder, tmp_path / "out", "stored-size")
    assert table.quality["sharp.png"] == (folder / "sharp.png").stat().st_size
    assert table.quality["blurred.png"] == (folder / "blurred.png").stat().st_size


def test_one_measure_does_not_resume_another(folder, tmp_path, caplog):
    measured(folder, tmp_path / "out", "laplacian")
    flags = ["--input", str(folder), "--output", str(tmp_path / "out"), "--resume"]
    assert run(["--measure", "stored-size", *flags]) == 2
    assert "laplacian" in caplog.text
