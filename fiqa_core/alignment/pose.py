"""Head pose from five landmarks: a coarse measure, good for telling frontal faces from those seen from the side.

An average head is fitted to the landmarks under scaled orthographic projection (DeMenthon and Davis 1995, its first
step): no camera has to be known, and the answer is one small least-squares solution.

How good: roll is as exact as the landmarks (about 2 degrees). Yaw and pitch hang on where the nose tip is seen: the
noise of YuNet's landmarks is 3 to 5 degrees of them, a nose or eye sockets deeper or flatter than average make another
10 % of yaw, and a pitch is relative to the average face of news photographs. Beyond about 60 degrees the detector
guesses the far eye and mouth corner.
"""

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """Degrees; 0 = looking into the camera, upright.

    Attributes:
        yaw: positive = the face is turned to the viewer's right.
        pitch: positive = the face looks up.
        roll: positive = the head leans clockwise as the viewer sees it.
    """

    yaw: float
    pitch: float
    roll: float


# x to the right, y down, z away from the camera, in pixels of an aligned crop (about 1.8 mm). x and y: the mean of
# YuNet's landmarks on 1,000 aligned LFW faces, left and right alike. z: the depth of the nose tip with which the head
# fits those landmarks best (float model: 22, int8 model: 18), where eyes and mouth corners lie in one plane.
_POINTS = np.array([[-17.9, 0, 0], [17.9, 0, 0], [0, 21.1, -20], [-15.1, 35.9, 0], [15.1, 35.9, 0]])
_INVERSE = np.linalg.pinv(_POINTS - _POINTS.mean(axis=0))


def head_pose(landmarks: np.ndarray) -> Pose:
    """Pose of landmarks (5, 2), x right and y down, in pixels of an upright picture."""
    points = np.asarray(landmarks, np.float64)
    # Its rows are the first two rows of the rotation, each times the scale.
    projection = (_INVERSE @ (points - points.mean(axis=0))).T
    u, _, v = np.linalg.svd(projection, full_matrices=False)
    x, y = u @ v  # the nearest rows that are orthonormal
    z = np.cross(x, y)
    # rotation = roll @ pitch @ yaw: the head turns about its own axis, then nods, then leans in the picture.
    yaw = np.arctan2(z[0], z[2])
    pitch = np.arctan2(-z[1], np.hypot(z[0], z[2]))
    roll = np.arctan2(-x[1], y[1])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
