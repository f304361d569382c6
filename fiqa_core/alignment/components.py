"""Pose, eye distance, head size and margins after ISO/IEC 29794-5, from the five landmarks of a detected face.

OFIQ finds 98 landmarks and the pose with networks. Given the same eye centres, chin and angles the values are OFIQ's,
which rounds eye centres to whole pixels. Here the pose is that of `pose.py`, and five landmarks have no chin: it is
taken to be where the average face has it.
"""

from collections.abc import Sequence

import numpy as np

from fiqa_core.alignment.aligner import AlignedFace
from fiqa_core.alignment.face import LEFT_EYE, LEFT_MOUTH, RIGHT_EYE, RIGHT_MOUTH
from fiqa_core.images.components import qualities
from fiqa_core.images.iso_quality import rounded

# Distance of the chin from the middle of the eyes over that of the mouth, in MediaPipe's canonical face model.
CHIN = 1.726


def landmark_components(faces: Sequence[AlignedFace]) -> dict[str, np.ndarray]:
    """Values by component, float64 (number of faces,); NaN where the landmarks allow none (`LANDMARK_COMPONENTS`)."""
    if not faces:
        points, angles, sizes = np.zeros((0, 5, 2)), np.zeros((0, 3)), np.zeros((0, 2))
    else:
        points = np.stack([face.face.landmarks for face in faces])
        angles = np.array([face.pose for face in faces])
        sizes = np.array([face.size for face in faces], np.float64)
    yaw, pitch, roll = angles.T
    eyes = points[:, [LEFT_EYE, RIGHT_EYE]].mean(axis=1)
    mouth = points[:, [LEFT_MOUTH, RIGHT_MOUTH]].mean(axis=1)
    measured = margins(
        points[:, LEFT_EYE], points[:, RIGHT_EYE], CHIN * np.hypot(*(mouth - eyes).T), sizes[:, 0], sizes[:, 1]
    )
    measured["inter_eye_distance"] = _seen_from_the_front(measured["inter_eye_distance"], yaw)
    found = qualities(measured | {"pose_yaw": yaw, "pose_pitch": pitch, "pose_roll": roll})
    return measured | found


def margins(
    left_eye: np.ndarray, right_eye: np.ndarray, to_chin: np.ndarray, width: np.ndarray, height: np.ndarray
) -> dict[str, np.ndarray]:
    """Eye distance, head size and margins of faces seen from the front, float64 (N,) each; NaN where eyes coincide.

    Args:
        left_eye, right_eye: centres (N, 2) in pixels, left as the viewer sees it.
        to_chin: distance of the chin from the middle of the eyes, (N,), in pixels.
        width, height: of the picture, (N,), in pixels.
    """
    left, right = rounded(left_eye), rounded(right_eye)
    apart = np.hypot(*(right - left).T)
    apart = np.where(apart > 0, apart, np.nan)
    to_chin = np.where(to_chin > 0, to_chin, np.nan)
    level = rounded((left[:, 1] + right[:, 1]) / 2)
    return {
        "inter_eye_distance": apart,
        "head_size": to_chin / height,
        "leftward_crop_of_the_face_image": right[:, 0] / apart,
        "rightward_crop_of_the_face_image": (width - left[:, 0]) / apart,
        "margin_above_of_the_face_image": level / to_chin,
        "margin_below_of_the_face_image": (height - level) / to_chin,
    }


def _seen_from_the_front(distance: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    towards = np.cos(np.radians(yaw))
    return np.where(np.abs(towards) > 1e-6, distance / np.where(towards == 0, 1.0, towards), np.nan)
