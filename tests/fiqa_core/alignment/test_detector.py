"""Faces in real photographs."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fiqa_core.alignment.candidates import merge, overlap
from fiqa_core.alignment.contrast import stretched
from tests.makers.photographs import (
    astronaut,
    crops,
    float_detector,
    needs_packaged_detector,
    packaged_detector,
    photographs,
    turned,
)

pytestmark = needs_packaged_detector


def found(pixels, detector=None):
    """The surest face, with its landmarks found again."""
    detector = detector or packaged_detector()
    return detector.refine(pixels, detector.detect(pixels)[0])


def difference(ours, expected):
    """Mean distance of landmarks, as a share of the distance between the eyes."""
    apart = np.hypot(*(expected[1] - expected[0]))
    return np.hypot(*(np.asarray(ours) - expected).T).mean() / apart


def test_eileen_collins_is_found_where_she_is():
    face = found(astronaut())
    assert face.score > 0.85
    # Read off the picture by eye.
    assert difference(face.landmarks, np.array([[203, 101], [246, 103], [223, 125], [203, 140], [246, 140]])) < 0.12


def test_pixels_are_taken_as_rgb():
    """The network is trained on BGR as OpenCV reads it: with red and blue exchanged it is less sure on the whole."""
    pictures = photographs(20)
    right = np.mean([packaged_detector().detect(pixels)[0].score for pixels in pictures])
    wrong = np.mean([packaged_detector().detect(np.ascontiguousarray(p[:, :, ::-1]))[0].score for p in pictures])
    assert right > wrong


def test_landmarks_of_the_int8_model_are_those_of_the_float_model_within_a_few_pixels():
    """Measured on 300 photographs: median 5.5 %, 90 % below 10 %, 99 % below 17 % of the distance between the eyes."""
    apart = [difference(found(p).landmarks, found(p, float_detector()).landmarks) for p in photographs(24)]
    assert np.median(apart) < 0.08
    assert max(apart) < 0.25


def test_the_same_picture_gives_the_same_faces_in_any_thread():
    pictures = photographs(6) * 3
    alone = [found(pixels) for pixels in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(found, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        np.testing.assert_array_equal(one.box, other.box)
        assert one.score == other.score


def test_landmarks_hardly_depend_on_the_size_of_the_picture():
    small = astronaut()
    large = cv2.resize(small, (2560, 2560), interpolation=cv2.INTER_CUBIC)
    assert difference((found(large).landmarks + 0.5) / 5 - 0.5, found(small).landmarks) < 0.04


@pytest.mark.parametrize("degrees", [-30, 20, 45])
def test_landmarks_of_a_leaning_face_lean_with_it(degrees):
    for pixels in photographs(5):
        upright, leaning = found(pixels), found(turned(pixels, degrees))
        matrix = cv2.getRotationMatrix2D((124.5, 124.5), -degrees, 1)
        assert difference(leaning.landmarks, upright.landmarks @ matrix[:, :2].T + matrix[:, 2]) < 0.2
        eyes = leaning.landmarks[1] - leaning.landmarks[0]
        before = upright.landmarks[1] - upright.landmarks[0]
        lean = np.degrees(np.arctan2(eyes[1], eyes[0]) - np.arctan2(before[1], before[0]))
        assert lean == pytest.approx(degrees, abs=12)


def test_a_small_face_in_a_large_picture_is_found():
    canvas = np.full((3000, 4000, 3), 120, np.uint8)
    canvas[1500:1650, 2000:2150] = cv2.resize(astronaut(), (150, 150), interpolation=cv2.INTER_AREA)
    face = found(canvas)
    assert 2000 < face.centre[0] < 2150
    assert 1500 < face.centre[1] < 1650


def test_a_face_that_fills_a_large_picture_is_found():
    face = found(cv2.resize(np.ascontiguousarray(astronaut()[60:190, 170:280]), (2200, 2600)))
    assert face.size > 1500


def test_a_crop_of_16_pixels_is_found():
    assert found(cv2.resize(crops(1)[0], (16, 16), interpolation=cv2.INTER_AREA)).size > 8


def test_faces_in_dark_and_pale_pictures_are_found():
    faces = crops(10)
    dark = [(pixels * 0.1).astype(np.uint8) for pixels in faces]
    pale = [(pixels * 0.08 + 120).astype(np.uint8) for pixels in faces]
    for pictures in (dark, pale):
        for before, after in zip(faces, pictures, strict=True):
            assert difference(found(after).landmarks, found(before).landmarks) < 0.3


def test_a_flat_picture_and_one_of_all_levels_are_not_stretched():
    assert stretched(np.full((50, 50, 3), 7, np.uint8)) is None
    assert stretched(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)) is None


@pytest.mark.parametrize("shape", [(16, 10_000, 3), (10_000, 16, 3), (1, 1, 3), (17, 33, 3), (3000, 3000, 3)])
def test_pictures_of_any_shape_without_a_face_have_none(shape):
    assert packaged_detector().detect(np.random.default_rng(3).integers(0, 256, shape, np.uint8)) == []


def test_a_huge_picture_costs_no_copy_of_itself():
    canvas = np.zeros((8000, 8000, 3), np.uint8)
    canvas[2000:6000, 2000:6000] = cv2.resize(astronaut()[:400, :400], (4000, 4000))
    tracemalloc.start()
    try:
        found(canvas)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20  # the picture has 192 MB
    finally:
        tracemalloc.stop()


def test_detections_of_one_face_become_one_with_the_score_of_the_best():
    def row(x, score):
        return [x, 10, 40, 50, *np.arange(10) + x, score]

    faces = merge(np.array([row(100, 0.6), row(12, 0.8), row(10, 0.9), row(11, 0.5), row(300, 0.55)]), 0.6)
    assert [round(face.score, 3) for face in faces] == [0.9, 0.6]
    assert faces[0].box[0] == pytest.approx((12 * 0.8 + 10 * 0.9 + 11 * 0.5) / 2.2)
    assert faces[0].landmarks[0, 0] == pytest.approx(faces[0].box[0])


def test_rows_that_are_not_finite_are_left_out():
    rows = np.array([[0, 0, 10, 10, *range(10), 0.9], [0, 0, np.inf, 10, *range(10), 0.95]])
    assert len(merge(rows, 0.5)) == 1


def test_overlap_of_boxes_apart_and_equal():
    box = np.array([0.0, 0, 10, 10])
    np.testing.assert_allclose(overlap(box, np.array([[20.0, 0, 5, 5], [0, 0, 10, 10], [5, 0, 10, 10]])), [0, 1, 1 / 3])
