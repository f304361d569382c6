"""Faces of a picture of any size, in bounded time and memory."""

from collections.abc import Iterator

import cv2
import numpy as np

from fiqa_core.alignment.close_up import find_again
from fiqa_core.alignment.contrast import stretched
from fiqa_core.alignment.detector_file import DetectorFile
from fiqa_core.alignment.face import Face
from fiqa_core.alignment.settings import DEFAULT_SCORE
from fiqa_core.alignment.yunet import YuNet

# Longest side, in pixels, at which a picture is looked at, one after the other until a face is found: most pictures;
# faces that fill a large picture; small faces in a large picture. After that comes a picture with more contrast.
_SIDES = (640, 320, 1600)
_LEAST_SIDE = 160  # smaller pictures are enlarged to it


class FaceDetector:
    """Finds faces and five landmarks. Thread-safe; the same picture gives the same faces.

    `score`: the least score of a face, 0..1. Faces from about 10 pixels to the whole picture are found. No picture,
    however large, is looked at in more than 1600 x 1600 pixels.
    """

    def __init__(self, file: DetectorFile, score: float = DEFAULT_SCORE) -> None:
        self.file = file
        self.score = score
        self._network = YuNet(file)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Faces in uint8 RGB (H, W, 3), upright, the surest first, in pixels of that picture."""
        for small in _views(pixels):
            found = self._network.faces(small, self.score)
            if found:
                # Pixel centres are whole numbers in both pictures.
                scale = np.array([pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]])
                return [face.moved(scale, scale / 2 - 0.5) for face in found]
        return []

    def refine(self, pixels: np.ndarray, face: Face) -> Face:
        """The face with better landmarks: see `close_up`."""
        return find_again(self._network, pixels, face)


def _views(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """The picture at the sizes at which it is looked at; at the first one also with its contrast stretched."""
    first = None
    for width, height in _sizes(pixels.shape[1], pixels.shape[0]):
        small = _resized(pixels, width, height)
        first = small if first is None else first
        yield small
    again = None if first is None else stretched(first)
    if again is not None:
        yield again


def _sizes(width: int, height: int) -> Iterator[tuple[int, int]]:
    longer = max(width, height)
    seen: set[tuple[int, int]] = set()
    for side in _SIDES:
        scale = max(min(side, longer), _LEAST_SIDE) / longer
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if size not in seen:
            seen.add(size)
            yield size


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    way = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=way))
