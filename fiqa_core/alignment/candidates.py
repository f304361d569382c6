"""Many overlapping detections of the same faces to one face each.

The usual suppression keeps the best-scored detection and forgets the others. YuNet's landmarks differ from one to the
next by several percent of the eye distance, so here they are averaged with their scores as weights (as BlazeFace does,
Bazarevsky et al. 2019).
"""

import numpy as np

from fiqa_core.alignment.face import Face

_SAME_FACE = 0.5  # intersection over union

_BOX, _LANDMARKS, _SCORE = slice(0, 4), slice(4, 14), 14  # columns of FaceDetectorYN's rows


def merge(rows: np.ndarray, least_score: float) -> list[Face]:
    """Faces, the surest first, of FaceDetectorYN's rows, float (N, 15) without suppression.

    `least_score`: a face's best row has this score or more. A face has the score of its best row.
    """
    rows = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0], -rows[:, _SCORE]))]  # equal scores: by place, in any run the same
    faces: list[Face] = []
    while len(rows) and rows[0, _SCORE] >= least_score:
        same = overlap(rows[0, _BOX], rows[:, _BOX]) > _SAME_FACE
        same[0] = True
        weights = rows[same, _SCORE, None]
        mean = (rows[same] * weights).sum(axis=0) / weights.sum()
        faces.append(Face(mean[_BOX], mean[_LANDMARKS].reshape(5, 2), float(rows[0, _SCORE])))
        rows = rows[~same]
    return faces


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (N, 4), each left, top, width, height."""
    lower = np.maximum(box[:2], boxes[:, :2])
    upper = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    common = np.clip(upper - lower, 0, None).prod(axis=1)
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - common
    return np.asarray(common / np.maximum(union, np.finfo(float).tiny))
