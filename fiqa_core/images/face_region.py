"""Which pixels of an aligned 112x112 crop are face: one region for all faces, since no network finds landmarks here.

OFIQ takes the convex hull of 98 landmarks of each face, and two squares on the cheeks. Here both lie where the average
face has them: the outline is jaw and brows of MediaPipe's canonical face model (Apache 2.0), seen from 60 cm and fitted
to the ArcFace template by eyes and mouth corners; the squares are OFIQ's own, for its template of 616x616 pixels.
"""

import cv2
import numpy as np

SIDE = 112

# x distance from the middle (x = 56), y: the right half of the outline, from the brows down to the chin.
_HALF_OUTLINE = (
    (16.5, 36.8),
    (23.5, 37.1),
    (29.0, 39.2),
    (35.7, 40.3),
    (40.6, 45.1),
    (40.2, 63.5),
    (39.5, 72.5),
    (35.4, 92.4),
    (31.8, 100.5),
    (27.8, 106.5),
    (18.0, 115.5),
    (7.2, 120.9),
)

FROM_OFIQ = np.array([[0.3128255, 0.0002631, -40.412717], [-0.0002631, 0.3128255, -33.377836]])
"""From x, y of OFIQ's 616x616 template to those of the ArcFace template: the similarity transform of their points."""

# OFIQ's squares below its template's eyes (251, 272) and (364, 272): int(0.3 * 113) pixels wide, half of the eyes'
# distance from the mouth (130 pixels) below them.
_CHEEK = 33
_CHEEKS_AT = (364 - _CHEEK, 272 + 65), (251, 272 + 65)


def _outline() -> np.ndarray:
    right = np.array(_HALF_OUTLINE)
    return np.concatenate([right * (1, 1) + (56, 0), (right * (-1, 1) + (56, 0))[::-1]])


def _mask() -> np.ndarray:
    """A pixel is face if its centre is inside the outline."""
    outline = _outline().astype(np.float32)
    inside = [[cv2.pointPolygonTest(outline, (x, y), False) >= 0 for x in range(SIDE)] for y in range(SIDE)]
    return np.array(inside, np.uint8)


FACE = _mask()
"""uint8 (112, 112): 1 in the face, 0 outside."""

_ROWS, _COLUMNS = (np.flatnonzero(FACE.any(axis=axis)) for axis in (1, 0))
BOX = slice(int(_ROWS[0]), int(_ROWS[-1]) + 1), slice(int(_COLUMNS[0]), int(_COLUMNS[-1]) + 1)
"""Rows and columns of the smallest box around the face."""

_CHEEK_MATRICES = [np.column_stack([FROM_OFIQ[:, :2], FROM_OFIQ @ (x, y, 1)]) for x, y in _CHEEKS_AT]


def cheeks(image: np.ndarray) -> np.ndarray:
    """The two squares, side by side, at OFIQ's size: uint8 (33, 66, 3) of uint8 (112, 112, 3); bilinear."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    squares = [cv2.warpAffine(image, matrix, (_CHEEK, _CHEEK), flags=flags) for matrix in _CHEEK_MATRICES]
    return np.asarray(cv2.hconcat(squares))
