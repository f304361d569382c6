"""A picture to aligned faces: find, choose, measure, warp."""

from typing import NamedTuple

import numpy as np

from fiqa_core.alignment.choice import FaceRule, choose
from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import PACKAGED, read_detector
from fiqa_core.alignment.face import Face
from fiqa_core.alignment.pose import Pose, head_pose
from fiqa_core.alignment.template import distance_from_template, to_template, warp

# Pixels of a 112x112 crop (`distance_from_template`). Of LFW's crops that YuNet aligned the median is 3 and the 99th
# percentile 8; of its originals, faces of half the picture in its middle, the first percentile is 16.
ALIGNED_WITHIN = 10.0
MOST_FACES = 100  # that are aligned in one picture (rule `ALL`): it bounds the time and memory that a picture can take


class AlignedFace(NamedTuple):
    """One face of a picture.

    Attributes:
        face: where it is, in pixels of the upright picture.
        warped: whether the picture was warped; False: it is an aligned crop already and is used as it is.
        pixels: uint8 (112, 112, 3) RGB aligned to the ArcFace template; None unless warped.
        pose: of the head, in degrees.
        found: faces in the picture.
        size: width and height of the upright picture, in pixels.
    """

    face: Face
    warped: bool
    pixels: np.ndarray | None
    pose: Pose
    found: int
    size: tuple[int, int]


class Aligner:
    """Aligns the faces of pictures. Thread-safe; the same picture gives the same crop."""

    def __init__(self, detector: FaceDetector, rule: FaceRule = FaceRule.CENTRE) -> None:
        self.detector = detector
        self.rule = rule

    @classmethod
    def from_detector(cls, uri: str = PACKAGED, faces: str = FaceRule.CENTRE.value) -> "Aligner":
        """With a YuNet file from any store (default: the one of extra `align`) and a rule for several faces.

        Raises:
            AlignmentError: the detector is not there or cannot be used.
            ValueError: the rule is not known.
        """
        return cls(FaceDetector(read_detector(uri)), FaceRule(faces))

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """The one face that is meant, aligned: uint8 (112, 112, 3); or the picture itself if it is an aligned crop.

        Raises:
            ImageRejected: NO_FACE or SEVERAL_FACES.
            ValueError: the rule is `ALL`, which means no one face.
        """
        if self.rule is FaceRule.ALL:
            raise ValueError("faces='all' gives several crops a picture: use align(), or another rule")
        found = self.align(pixels)[0].pixels
        return pixels if found is None else found

    def align(self, pixels: np.ndarray) -> list[AlignedFace]:
        """The faces that the rule chooses in uint8 RGB (H, W, 3), upright; one, unless the rule is `ALL`: then the
        surest `MOST_FACES`, the surest first.

        Raises:
            ImageRejected: NO_FACE or SEVERAL_FACES.
        """
        height, width = pixels.shape[:2]
        found = self.detector.detect(pixels)
        chosen = choose(found, self.rule, width, height)[:MOST_FACES]
        return [self._aligned(pixels, self.detector.refine(pixels, face), len(found)) for face in chosen]

    def _aligned(self, pixels: np.ndarray, face: Face, found: int) -> AlignedFace:
        height, width = pixels.shape[:2]
        is_aligned = distance_from_template(face.landmarks, width, height) <= ALIGNED_WITHIN
        crop = None if is_aligned else warp(pixels, to_template(face.landmarks))
        return AlignedFace(face, not is_aligned, crop, head_pose(face.landmarks), found, (width, height))
