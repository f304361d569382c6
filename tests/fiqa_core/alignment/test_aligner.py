"""Pictures to aligned faces."""

import cv2
import numpy as np
import pytest

from fiqa_core.alignment.aligner import ALIGNED_WITHIN, Aligner
from fiqa_core.alignment.choice import FaceRule
from fiqa_core.alignment.template import distance_from_template
from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status
from tests.makers.photographs import astronaut, crops, needs_packaged_detector, packaged_detector, photographs

pytestmark = needs_packaged_detector


def aligned(pixels, rule=FaceRule.CENTRE):
    return Aligner(packaged_detector(), rule).align(pixels)


def test_photographs_become_aligned_crops():
    for pixels in photographs(20):
        crop = aligned(pixels)[0].pixels
        assert crop is not None
        assert crop.shape == (112, 112, 3)
        again = aligned(crop)[0]
        assert distance_from_template(again.face.landmarks, 112, 112) < ALIGNED_WITHIN


def test_crops_that_are_aligned_already_are_used_as_they_are():
    assert sum(not aligned(pixels)[0].warped for pixels in crops(60)) >= 59


@pytest.mark.parametrize("side", [64, 224])
def test_whether_a_crop_is_aligned_is_told_by_landmarks_not_by_size(side):
    crop = crops(1)[0]
    assert not aligned(cv2.resize(crop, (side, side)))[0].warped
    photograph = cv2.resize(photographs(1)[0], (112, 112), interpolation=cv2.INTER_AREA)
    assert aligned(photograph)[0].warped


def test_a_crop_that_was_shifted_is_aligned_again():
    crop = cv2.copyMakeBorder(crops(1)[0], 0, 24, 24, 0, cv2.BORDER_REPLICATE)[24:, :112]
    assert aligned(np.ascontiguousarray(crop))[0].warped


def test_several_faces_are_chosen_from_or_rejected():
    small = cv2.resize(astronaut()[20:230, 130:330], (100, 100), interpolation=cv2.INTER_AREA)
    picture = np.full((300, 600, 3), 90, np.uint8)
    picture[100:200, 260:360] = small
    picture[40:240, 30:230] = cv2.resize(small, (200, 200))
    assert [round(each.face.centre[0], -2) for each in aligned(picture)] == [300]
    assert [round(each.face.centre[0], -2) for each in aligned(picture, FaceRule.LARGEST)] == [100]
    everyone = aligned(picture, FaceRule.ALL)
    assert len(everyone) == 2
    assert {each.found for each in everyone} == {2}
    with pytest.raises(ImageRejected) as rejected:
        aligned(picture, FaceRule.ONE)
    assert rejected.value.status is Status.SEVERAL_FACES


def test_a_picture_without_a_face_is_rejected_as_such():
    coffee = pytest.importorskip("skimage.data").coffee()
    with pytest.raises(ImageRejected) as rejected:
        aligned(coffee)
    assert rejected.value.status is Status.NO_FACE
