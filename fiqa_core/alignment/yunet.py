"""YuNet by OpenCV's FaceDetectorYN, on one picture of a bounded size."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from fiqa_core.alignment.candidates import merge
from fiqa_core.alignment.detector_file import DetectorFile
from fiqa_core.alignment.errors import AlignmentError
from fiqa_core.alignment.face import Face
from fiqa_core.wording import first_line

_CANDIDATE = 0.5  # detections from this score on are averaged into a face
_MOST_CANDIDATES = 2000  # of a picture, the surest first
_NO_SUPPRESSION = 1.0
_TRIAL_SIDE = 64
_log_level = threading.Lock()


class YuNet:
    """A network that finds faces. Thread-safe: each call has an OpenCV network of its own, kept for later ones.

    Raises:
        AlignmentError: the file is not a YuNet that this OpenCV can run.
    """

    def __init__(self, file: DetectorFile) -> None:
        self.file = file
        self._idle: list[Any] = []
        try:
            self.faces(np.zeros((_TRIAL_SIDE, _TRIAL_SIDE, 3), np.uint8), 1.0)
        except cv2.error as error:
            raise AlignmentError(
                f"{file.uri}: OpenCV {cv2.__version__} cannot run it as a face detector ({first_line(error)}). "
                "Expected a YuNet ONNX file (face_detection_yunet_*.onnx of OpenCV Zoo)."
            ) from error

    def faces(self, pixels: np.ndarray, least_score: float) -> list[Face]:
        """Faces of at least this score in uint8 RGB (H, W, 3), the surest first. The same pixels give the same faces.

        Time and memory grow with H x W: the caller bounds it.
        """
        network = self._idle.pop() if self._idle else self._open()
        height, width = pixels.shape[:2]
        network.setInputSize((width, height))
        rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        self._idle.append(network)  # not after an exception: its state is not known
        return [] if rows is None else merge(rows, least_score)

    def _open(self) -> Any:
        weights = np.frombuffer(self.file.data, np.uint8)
        with _quiet():
            return cv2.FaceDetectorYN.create(
                "onnx",
                weights,
                np.empty(0, np.uint8),
                (_TRIAL_SIDE, _TRIAL_SIDE),
                _CANDIDATE,
                _NO_SUPPRESSION,
                _MOST_CANDIDATES,
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV 5 warns on stderr each time it opens a network that its targets are not supported; nothing follows."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:  # OpenCV 4
        yield
        return
    with _log_level:
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_ERROR)
        try:
            yield
        finally:
            logging.setLogLevel(level)
