"""A look at the first pictures of a run: are they aligned crops? A score is about nothing else."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np

from fiqa_core.alignment.aligner import ALIGNED_WITHIN
from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import packaged_detector_path, read_detector
from fiqa_core.alignment.errors import AlignmentError
from fiqa_core.alignment.template import distance_from_template

_log = logging.getLogger(__name__)

LOOK_AT = 64
_LONGEST = 640  # pixels; larger pictures are shrunk, so that a look costs a second or two whatever they are
_MANY_NOT_ALIGNED = 0.2  # share of the pictures; fewer are odd or degraded crops, as any dataset has
_MANY_WITHOUT_FACE = 0.5  # poor crops have none for the detector


@dataclass(frozen=True)
class FirstLook:
    """What was seen.

    Attributes:
        looked: pictures. not_aligned: those with a face that is not where an aligned crop has it. no_face: those
            in which no face was found.
    """

    looked: int = 0
    not_aligned: int = 0
    no_face: int = 0

    @property
    def warning(self) -> str | None:
        """What to tell a person; None where the pictures look like aligned crops."""
        without = f"in {self.no_face} of {self.looked} pictures no face was found"
        if self.not_aligned > _MANY_NOT_ALIGNED * self.looked:
            beside = f" ({without})" if self.no_face else ""
            found = f"{self.not_aligned} of {self.looked} are not aligned crops{beside}"
        elif self.no_face > _MANY_WITHOUT_FACE * self.looked:
            found = without
        else:
            return None
        return f"{found}; scores of such pictures mean little: --align"

    def report(self) -> dict[str, Any]:
        """The numbers and the warning, for `summary.json`."""
        return {
            "looked_at": self.looked,
            "not_aligned": self.not_aligned,
            "no_face": self.no_face,
            "warning": self.warning,
        }


class FirstInputs:
    """The first network inputs of a scorer, 112 x 112 pixels each; warns once in the log if they are not aligned crops.

    Does nothing where no detector is installed (extra `align`).
    """

    def __init__(self) -> None:
        self._inputs: list[np.ndarray] = []
        self._is_over = packaged_detector_path() is None

    def see(self, pixels: np.ndarray) -> None:
        """One more; the first ones are kept until they are looked at."""
        if not self._is_over and len(self._inputs) < LOOK_AT:
            self._inputs.append(pixels)

    def warn(self) -> None:
        """Look at those that were seen, once."""
        if self._is_over or not self._inputs:
            return
        self._is_over = True
        try:
            warning = look_at_first(self._inputs, FaceDetector(read_detector())).warning
        except AlignmentError as error:
            _log.info("no look at the first pictures: %s", error)
            warning = None
        self._inputs = []
        if warning is not None:
            _log.warning("%s", warning.replace("--align", "give an aligner"))


def look_at_first(pictures: Iterable[np.ndarray], detector: FaceDetector, most: int = LOOK_AT) -> FirstLook:
    """Look at the first `most` of decoded pictures, uint8 RGB (H, W, 3) each, upright. No more are asked for."""
    looked = not_aligned = no_face = 0
    for pixels in islice(pictures, most):
        looked += 1
        small = _shrunk(pixels)
        faces = detector.detect(small)
        no_face += not faces
        not_aligned += bool(faces) and not any(
            distance_from_template(face.landmarks, small.shape[1], small.shape[0]) <= ALIGNED_WITHIN for face in faces
        )
    return FirstLook(looked, not_aligned, no_face)


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = _LONGEST / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
