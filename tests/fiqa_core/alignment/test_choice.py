"""Which face is meant where there are several."""

import numpy as np
import pytest

from fiqa_core.alignment.choice import FaceRule, choose
from fiqa_core.alignment.face import Face
from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status


def face(x, y, side):
    """A face around a point."""
    return Face(np.array([x - side / 2, y - side / 2, side, side], float), np.full((5, 2), [x, y], float), 0.9)


MIDDLE, LARGE, FAR = face(300, 200, 60), face(120, 200, 150), face(560, 60, 40)


def chosen(faces, rule):
    return choose(faces, rule, 600, 400)


@pytest.mark.parametrize("rule", FaceRule)
def test_no_face_is_a_reason_of_its_own(rule):
    with pytest.raises(ImageRejected) as rejected:
        chosen([], rule)
    assert rejected.value.status is Status.NO_FACE
    assert (rejected.value.width, rejected.value.height) == (600, 400)


@pytest.mark.parametrize("rule", FaceRule)
def test_one_face_is_taken_by_every_rule(rule):
    assert chosen([FAR], rule) == [FAR]


def test_centre_takes_the_nearest_and_largest_the_largest_and_all_every_one():
    faces = [LARGE, FAR, MIDDLE]
    assert chosen(faces, FaceRule.CENTRE) == [MIDDLE]
    assert chosen(faces, FaceRule.LARGEST) == [LARGE]
    assert chosen(faces, FaceRule.ALL) == faces


@pytest.mark.parametrize(
    ("faces", "rule", "advice"),
    [
        ([MIDDLE, FAR], FaceRule.ONE, "2 faces were found; expected one"),
        ([face(200, 200, 100), face(405, 200, 100)], FaceRule.CENTRE, "of one size are equally near .* --faces"),
        ([face(200, 200, 100), face(350, 200, 101)], FaceRule.LARGEST, "two are equally large; .* --faces"),
    ],
)
def test_a_rule_that_cannot_decide_says_several_faces(faces, rule, advice):
    with pytest.raises(ImageRejected, match=advice) as rejected:
        chosen(faces, rule)
    assert rejected.value.status is Status.SEVERAL_FACES


def test_of_faces_equally_near_the_centre_the_larger_is_meant():
    person, behind = face(270, 200, 120), face(325, 200, 60)
    assert chosen([behind, person], FaceRule.CENTRE) == [person]
    assert chosen([behind, face(100, 200, 120)], FaceRule.CENTRE) == [behind]
