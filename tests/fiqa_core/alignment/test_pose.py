"""Head pose from landmarks."""

import numpy as np
import pytest

from fiqa_core.alignment.pose import _POINTS, head_pose
from tests.makers.photographs import needs_packaged_detector, packaged_detector, photographs, turned


def seen(yaw, pitch, roll, scale=2.0):
    """The average head's landmarks after it turned, nodded and leaned, in a picture."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (_POINTS @ (lean @ nod @ turn).T)[:, :2] * scale + [300, 200]


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (-25, 0, 0), (0, 20, 0), (0, 0, -35), (30, 10, -20)])
def test_a_turned_head_is_measured(angles):
    np.testing.assert_allclose(head_pose(seen(*angles)), angles, atol=1e-6)


def test_directions_are_the_viewers():
    nose_right, nose_up, clockwise = seen(30, 0, 0), seen(0, 20, 0), seen(0, 0, 15)
    frontal = seen(0, 0, 0)
    eyes = slice(0, 2)
    assert nose_right[2, 0] - nose_right[eyes, 0].mean() > 5  # yaw
    assert nose_up[2, 1] - nose_up[eyes, 1].mean() < frontal[2, 1] - frontal[eyes, 1].mean() - 5  # pitch
    assert clockwise[1, 1] > clockwise[0, 1]  # roll: the right eye is lower


def test_noise_of_the_landmarks_costs_a_few_degrees():
    random = np.random.default_rng(5)
    noise = 0.04 * 35.8 * 2 / np.sqrt(2)  # 4 % of the distance between the eyes
    errors = [np.array(head_pose(seen(20, 5, 10) + random.normal(0, noise, (5, 2)))) - [20, 5, 10] for _ in range(400)]
    yaw, pitch, roll = np.std(errors, axis=0)
    assert yaw < 6
    assert pitch < 6
    assert roll < 3


@needs_packaged_detector
def test_a_mirrored_photograph_looks_the_other_way_and_a_turned_one_leans():
    detector = packaged_detector()

    def pose(pixels):
        return head_pose(detector.refine(pixels, detector.detect(pixels)[0]).landmarks)

    pictures = photographs(10)
    poses = np.array([pose(pixels) for pixels in pictures])
    mirrored = np.array([pose(np.ascontiguousarray(pixels[:, ::-1])) for pixels in pictures])
    assert np.abs(poses[:, 0]).max() > 10
    assert np.abs(np.median(mirrored - poses * [-1, 1, -1], axis=0)).max() < 6
    leaning = np.array([pose(turned(pixels, 20)) for pixels in pictures])
    assert np.median(leaning - poses, axis=0) == pytest.approx([0, 0, 20], abs=5)
