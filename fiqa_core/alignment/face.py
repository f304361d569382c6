"""One detected face."""

from typing import NamedTuple

import numpy as np

# Order of the five landmarks. Left and right are the viewer's, as in the ArcFace template.
LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH = range(5)


class Face(NamedTuple):
    """A face in an upright picture.

    Attributes:
        box: float64 (4,): left, top, width, height in pixels; may reach out of the picture.
        landmarks: float64 (5, 2): x, y in pixels of the eyes, nose tip and mouth corners (order: above). Whole
            numbers are centres of pixels, as in OpenCV.
        score: the detector's, 0..1, higher = surer.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float

    @property
    def centre(self) -> np.ndarray:
        """Centre of the box, float64 (2,): x, y in pixels."""
        return np.asarray(self.box[:2] + self.box[2:] / 2)

    @property
    def size(self) -> float:
        """Side of a square with the box's area, in pixels."""
        return float(np.sqrt(max(self.box[2], 0.0) * max(self.box[3], 0.0)))

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels."""
        return float(np.hypot(*(self.landmarks[RIGHT_EYE] - self.landmarks[LEFT_EYE])))

    def moved(self, scale: np.ndarray, shift: np.ndarray) -> "Face":
        """The face at `scale * point + shift` (x, y each)."""
        box = np.concatenate([self.box[:2] * scale + shift, self.box[2:] * scale])
        return Face(box, self.landmarks * scale + shift, self.score)
