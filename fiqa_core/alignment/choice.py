"""Which of a picture's faces is meant."""

from enum import StrEnum

import numpy as np

from fiqa_core.alignment.face import Face
from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status

# Two faces are equally near the centre where their distances to it differ by less than this share of a face's side,
# and equally large where their sides differ by less than that share.
_NEARLY_EQUAL_DISTANCE = 0.25
_NEARLY_EQUAL_SIDE = 0.05
_RIVAL = 0.5  # a face of less than this share of the other's side is no rival of it: someone in the background


class FaceRule(StrEnum):
    """What to do with several faces.

    CENTRE: the face nearest the picture's centre, as face datasets have them. LARGEST: the largest. ALL: every face.
    ONE: pictures with several faces are rejected.
    """

    CENTRE = "centre"
    LARGEST = "largest"
    ALL = "all"
    ONE = "one"


def choose(faces: list[Face], rule: FaceRule, width: int, height: int) -> list[Face]:
    """The faces that are meant, in a picture of this size: one, except for `ALL`.

    Raises:
        ImageRejected: NO_FACE; or SEVERAL_FACES, where the rule cannot decide, or `ONE` meets several.
    """
    if not faces:
        raise ImageRejected(Status.NO_FACE, "no face was found in the picture", width, height)
    if rule is FaceRule.ALL or len(faces) == 1:
        return faces
    if rule is FaceRule.ONE:
        raise ImageRejected(
            Status.SEVERAL_FACES, f"{len(faces)} faces were found; expected one (--faces one)", width, height
        )
    return [_nearest(faces, width, height) if rule is FaceRule.CENTRE else _largest(faces, width, height)]


def _nearest(faces: list[Face], width: int, height: int) -> Face:
    middle = np.array([width - 1, height - 1]) / 2
    distances = [float(np.hypot(*(face.centre - middle))) for face in faces]
    order = sorted(range(len(faces)), key=lambda place: (distances[place], place))
    best = faces[order[0]]
    for place in order[1:]:
        other = faces[place]
        near = distances[place] - distances[order[0]] < _NEARLY_EQUAL_DISTANCE * max(best.size, other.size)
        if near and _rivals(best, other):
            raise ImageRejected(
                Status.SEVERAL_FACES,
                f"{len(faces)} faces were found, and two are equally near the centre; --faces largest, or all, decides",
                width,
                height,
            )
    return best


def _largest(faces: list[Face], width: int, height: int) -> Face:
    best, second = sorted(faces, key=lambda face: -face.size)[:2]
    if second.size > (1 - _NEARLY_EQUAL_SIDE) * best.size:
        raise ImageRejected(
            Status.SEVERAL_FACES,
            f"{len(faces)} faces were found, and two are equally large; --faces centre, or all, decides",
            width,
            height,
        )
    return best


def _rivals(one: Face, other: Face) -> bool:
    return min(one.size, other.size) >= _RIVAL * max(one.size, other.size)
