"""Which of a picture's faces is meant."""

from enum import StrEnum

import numpy as np

from fiqa_core.alignment.face import Face
from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status

# Two faces are equally near the centre where their distances to it differ by less than this share of a face's side. The
# larger is meant then, unless the other has more than that share of its side.
_NEARLY_EQUAL_DISTANCE = 0.25
_NO_SMALLER = 0.8
_NEARLY_EQUAL_SIDE = 0.05  # two are equally large where their sides differ by less than this share


class FaceRule(StrEnum):
    """What to do with several faces.

    CENTRE: the face nearest the picture's centre, as face datasets have them; of two that are equally near, the larger.
    LARGEST: the largest. ALL: every face. ONE: pictures with several faces are rejected.
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
    nearest = int(np.argmin(distances))

    def is_as_near(place: int) -> bool:
        margin = _NEARLY_EQUAL_DISTANCE * max(faces[nearest].size, faces[place].size)
        return distances[place] - distances[nearest] < margin

    best, *others = sorted((faces[place] for place in range(len(faces)) if is_as_near(place)), key=lambda f: -f.size)
    if others and others[0].size > _NO_SMALLER * best.size:
        raise ImageRejected(
            Status.SEVERAL_FACES,
            f"{len(faces)} faces were found, and two of one size are equally near the centre; another rule: --faces",
            width,
            height,
        )
    return best


def _largest(faces: list[Face], width: int, height: int) -> Face:
    best, second = sorted(faces, key=lambda face: -face.size)[:2]
    if second.size > (1 - _NEARLY_EQUAL_SIDE) * best.size:
        raise ImageRejected(
            Status.SEVERAL_FACES,
            f"{len(faces)} faces were found, and two are equally large; another rule: --faces",
            width,
            height,
        )
    return best
