"""Components that landmarks show: by hand, after OFIQ's formulas, and in pictures that are cut or turned."""

import cv2
import numpy as np
import pytest

from fiqa_core.alignment.aligner import AlignedFace, Aligner
from fiqa_core.alignment.components import landmark_components
from fiqa_core.alignment.face import Face
from fiqa_core.alignment.pose import Pose
from schemas.component_measures import LANDMARK_COMPONENTS
from tests.makers.photographs import needs_packaged_detector, packaged_detector, photographs, turned

SIDES = "leftward", "rightward"


def aligned(left_eye=(100, 200), right_eye=(170, 200), mouth=300, pose=(0, 0, 0), size=(300, 500)) -> AlignedFace:
    """Eyes 70 pixels apart, the mouth 100 below, so that the chin is 172.6 below."""
    landmarks = np.array([left_eye, right_eye, (135, 250), (110, mouth), (160, mouth)], np.float64)
    return AlignedFace(Face(np.zeros(4), landmarks, 1.0), True, None, Pose(*map(float, pose)), 1, size)


def test_components_and_their_quality_by_hand():
    found = {name: values[0] for name, values in landmark_components([aligned()]).items()}
    assert found["inter_eye_distance"] == 70
    assert found["inter_eye_distance_quality"] == 50
    assert found["head_size"] == pytest.approx(172.6 / 500)
    assert found["head_size_quality"] == 22  # 200 (1 - 1 / (1 + exp(-0.1048 / 0.05)))
    assert found["leftward_crop_of_the_face_image"] == pytest.approx(170 / 70)
    assert found["rightward_crop_of_the_face_image"] == pytest.approx(200 / 70)
    assert found["margin_above_of_the_face_image"] == pytest.approx(200 / 172.6)
    assert found["margin_above_of_the_face_image_quality"] == 8  # 100 / (1 + exp((1.4 - 1.159) / 0.1))
    assert found["margin_below_of_the_face_image"] == pytest.approx(300 / 172.6)
    assert found["margin_below_of_the_face_image_quality"] == 35
    for name in ("pose_yaw", "pose_pitch", "pose_roll", *(f"{side}_crop_of_the_face_image" for side in SIDES)):
        assert found[f"{name}_quality"] == 100
    assert set(LANDMARK_COMPONENTS) <= set(found)


def test_a_turned_head_has_its_eyes_as_far_apart_as_from_the_front():
    found = landmark_components([aligned(pose=(60, 0, 0)), aligned(pose=(-60, 30, 45))])
    assert found["inter_eye_distance"] == pytest.approx([140, 140])
    assert found["pose_yaw_quality"].tolist() == [25, 25]
    assert found["pose_pitch_quality"].tolist() == [100, 75]
    assert found["pose_roll_quality"].tolist() == [100, 50]


def test_a_cut_off_side_has_little_room_and_a_poor_quality():
    found = landmark_components([aligned(), aligned((-20, 200), (50, 200)), aligned((250, 200), (320, 200))])
    whole, left, right = found["leftward_crop_of_the_face_image_quality"]
    assert (whole, right) == (100, 100)
    assert left < 50
    assert found["rightward_crop_of_the_face_image_quality"].tolist()[:2] == [100, 100]
    assert found["rightward_crop_of_the_face_image_quality"][2] < 50


def test_landmarks_that_coincide_give_no_value_and_no_error():
    found = landmark_components([aligned((135, 200), (135, 200), mouth=200)])
    for name in ("inter_eye_distance", "head_size", "leftward_crop_of_the_face_image"):
        assert np.isnan(found[name]).all(), name
        assert np.isnan(found[f"{name}_quality"]).all(), name
    assert all(len(values) == 0 for values in landmark_components([]).values())


@needs_packaged_detector
def test_photographs_that_are_turned_smaller_or_cut_lose_the_quality_that_says_so():
    aligner = Aligner(packaged_detector())
    for picture in photographs(4):
        leaning, small = turned(picture, 40), cv2.resize(picture, (125, 125), interpolation=cv2.INTER_AREA)
        faces = [aligner.align(each)[0] for each in (picture, leaning, small, picture[70:])]
        found = landmark_components(faces)
        assert found["pose_roll_quality"][1] < found["pose_roll_quality"][0] - 20
        assert found["inter_eye_distance"][2] == pytest.approx(found["inter_eye_distance"][0] / 2, rel=0.15)
        assert found["inter_eye_distance_quality"][2] < found["inter_eye_distance_quality"][0]
        assert found["margin_above_of_the_face_image"][3] < found["margin_above_of_the_face_image"][0] / 2
        assert faces[3].size == (250, 180)
