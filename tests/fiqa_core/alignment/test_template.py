"""The similarity transform and the warp, against scikit-image and OpenCV."""

import cv2
import numpy as np
import pytest

from fiqa_core.alignment.template import SIDE, TEMPLATE, distance_from_template, similarity_transform, to_template, warp
from fiqa_core.alignment.warping import smooth_square_view
from tests.makers.photographs import astronaut, needs_packaged_detector, packaged_detector, photographs


def of_skimage(landmarks):
    transform = pytest.importorskip("skimage.transform").SimilarityTransform
    return transform.from_estimate(landmarks, TEMPLATE).params[:2]


def random_landmarks(seed):
    random = np.random.default_rng(seed)
    return TEMPLATE * random.uniform(0.3, 6) + random.normal(0, 8, (5, 2)) + random.uniform(0, 400, 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_transform_is_scikit_images(seed):
    landmarks = random_landmarks(seed)
    np.testing.assert_allclose(to_template(landmarks), of_skimage(landmarks), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_a_mirrored_face_is_turned_not_mirrored(seed):
    landmarks = random_landmarks(seed) * [-1, 1]
    matrix = to_template(landmarks)
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, of_skimage(landmarks), rtol=1e-9, atol=1e-7)


def test_points_that_are_one_point_give_finite_numbers():
    assert np.isfinite(similarity_transform(np.ones((5, 2)), TEMPLATE)).all()


@needs_packaged_detector
def test_aligned_photographs_are_within_one_grey_level_of_skimage_and_opencv():
    for pixels in [*photographs(12), astronaut()]:
        face = packaged_detector().detect(pixels)[0]
        expected = cv2.warpAffine(pixels, of_skimage(face.landmarks), (112, 112), borderValue=0)
        ours = warp(pixels, to_template(face.landmarks))
        assert ours.shape == (112, 112, 3)
        assert np.abs(ours.astype(int) - expected).max() <= 1


def test_a_picture_longer_than_opencv_takes_is_warped_all_the_same():
    strip = np.random.default_rng(1).integers(0, 256, (100, 40_000, 3), np.uint8)
    matrix = np.array([[1.0, 0, -35_000], [0, 1, 6]])
    expected = np.zeros((SIDE, SIDE, 3), np.uint8)
    expected[6:106] = strip[:, 35_000 : 35_000 + SIDE]
    np.testing.assert_array_equal(warp(strip, matrix), expected)


@pytest.mark.parametrize("angle", [0, 0.4, 2.5])
def test_a_view_that_shrinks_is_where_the_plain_warp_has_it(angle):
    pixels = cv2.resize(astronaut(), (2048, 2048), interpolation=cv2.INTER_CUBIC)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.17
    matrix = np.column_stack([linear, np.full(2, 79.5) - linear @ [900, 500]])
    smooth = cv2.warpAffine(cv2.GaussianBlur(pixels, (0, 0), 2.5), matrix, (160, 160))
    assert np.abs(smooth_square_view(pixels, matrix, 160).astype(int) - smooth).mean() < 2.5
    shifted = cv2.warpAffine(cv2.GaussianBlur(pixels, (0, 0), 2.5), np.add(matrix, [[0, 0, 1], [0, 0, 0]]), (160, 160))
    assert np.abs(smooth_square_view(pixels, matrix, 160).astype(int) - shifted).mean() > 4


def test_the_distance_is_zero_on_the_template_at_any_size_and_grows_with_the_misplacement():
    for side in (56, 112, 448):
        resized = (TEMPLATE + 0.5) * side / 112 - 0.5
        assert distance_from_template(resized, side, side) == pytest.approx(0, abs=1e-9)
    assert distance_from_template(np.add(TEMPLATE, [6, 8]), 112, 112) == pytest.approx(10)
    assert distance_from_template(TEMPLATE, 250, 250) > 30


def test_the_distance_does_not_count_a_profile():
    """The eyes of a face seen from the side are near each other, and no similarity transform changes that."""
    profile = (TEMPLATE - 56) * [0.35, 1] + 56
    matrix = to_template(profile)
    aligned = profile @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(aligned - TEMPLATE).max() > 5
    assert distance_from_template(aligned, 112, 112) == pytest.approx(0, abs=1e-9)
