"""Landmarks of a face found again in close-ups of one size that stand upright.

YuNet's landmarks depend on the size at which a face is seen, by several percent of the eye distance, and on how it
leans: of a face that leans by 20 degrees they lean by 6 (int8 model) or 12 (float model) only. So the face is seen
again at one size, and turned until its landmarks stand upright.
"""

import numpy as np

from fiqa_core.alignment.candidates import overlap
from fiqa_core.alignment.contrast import stretched
from fiqa_core.alignment.face import Face
from fiqa_core.alignment.template import to_template
from fiqa_core.alignment.warping import smooth_square_view
from fiqa_core.alignment.yunet import YuNet

_SIDE = 160  # pixels of the close-up
_FACE_SHARE = 0.5  # of that side that the face takes
_SCORE = 0.5
_SAME_FACE = 0.3  # intersection over union
_MOST_ROUNDS = 4
_UPRIGHT = 2.0  # degrees: the noise of what is seen
_FIRST_STEP = 1.5  # times the lean that is seen: it is less than the real one
_LEAST_SEEN, _MOST_SEEN = 0.3, 1.0  # of a real turn, what is seen of it


def find_again(network: YuNet, pixels: np.ndarray, face: Face) -> Face:
    """The face with landmarks from an upright close-up; as it was, where it is not found again.

    `pixels`: uint8 RGB (H, W, 3), upright; box and score stay.
    """
    turn = step = lean_before = 0.0
    for number in range(_MOST_ROUNDS):
        matrix = _matrix(face, turn)
        landmarks = _landmarks(network, smooth_square_view(pixels, matrix, _SIDE))
        if landmarks is None:
            break
        face = face._replace(landmarks=(landmarks - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)
        lean = _lean(landmarks)
        if abs(lean) < _UPRIGHT:
            break
        # The secant method for a lean of 0.
        seen = np.clip((lean_before - lean) / step, _LEAST_SEEN, _MOST_SEEN) if number else 1 / _FIRST_STEP
        step, lean_before = float(lean / seen), lean
        turn += step
    return face


def _matrix(face: Face, turn: float) -> np.ndarray:
    """From the picture to the close-up, (2, 3): the face in its middle, turned back by so many degrees."""
    scale = _SIDE * _FACE_SHARE / max(face.size, 1.0)
    angle = np.radians(turn)
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, (_SIDE - 1) / 2 - linear @ face.centre])


def _landmarks(network: YuNet, close_up: np.ndarray) -> np.ndarray | None:
    """Landmarks of the face in the middle of the close-up, in its pixels."""
    faces = network.faces(close_up, _SCORE)
    if not faces and (again := stretched(close_up)) is not None:
        faces = network.faces(again, _SCORE)
    if not faces:
        return None
    side = _SIDE * _FACE_SHARE
    expected = np.array([(_SIDE - side) / 2, (_SIDE - side) / 2, side, side])
    overlaps = overlap(expected, np.stack([each.box for each in faces]))
    best = int(overlaps.argmax())
    return faces[best].landmarks if overlaps[best] > _SAME_FACE else None


def _lean(landmarks: np.ndarray) -> float:
    """How far the landmarks lean clockwise, in degrees."""
    matrix = to_template(landmarks)
    return float(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])))
