"""Whether two thumbnails show one photograph: one is aligned to the other, and the remaining difference is measured.

Copies that were recompressed, resized, cropped, shifted, lit differently, blurred a little or mirrored can be aligned;
a face photographed a moment later has moved in itself, and no mapping of the plane undoes that.
"""

import cv2
import numpy as np

from fiqa_core.images.thumbnail import SIDE

# Slow changes of grey (light, shading) do not identify a picture: what a Gaussian of this width keeps is subtracted.
_BACKGROUND, _COARSE = 0.12 * SIDE, 0.08 * SIDE
# Border to ignore (a crop has other pixels there), and share of the rest that may differ (a patch, a logo).
_MARGIN, _COVERED = 3, 0.05
# Pairs whose coarse pictures agree less than this are not aligned. Copies: 0.89 and more for 99.5 %.
_COARSE_AGREEMENT = 0.75
_STEPS = 8
_AT_ONCE = 2048
_INNER = (slice(_MARGIN, SIDE - _MARGIN), slice(_MARGIN, SIDE - _MARGIN))
_MASK = np.zeros((SIDE, SIDE), np.uint8)
_MASK[_INNER] = 255


def same_picture(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How well each pair's thumbnails agree after alignment; float32 (n,), 1 = the same picture.

    The second is aligned to the first by the affine map that maximises their correlation (ECC: Evangelidis and
    Psarakis 2008), mirrored if it agrees better that way. The result is the correlation of details finer than shading,
    without the border and the 5 % of the pixels that differ most. Pairs that do not agree coarsely get 0, and so do
    pictures without any structure. It does not depend on brightness and contrast.

    Args:
        one, other: uint8 (n, 1024), the `thumbnail` of each.
    """
    found = np.zeros(len(one), np.float32)
    for start in range(0, len(one), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        fine, coarse = _layers(one[part])
        fine_other, coarse_other = _layers(other[part])
        straight = _agreement(coarse, coarse_other)
        mirrored = _agreement(coarse, coarse_other[:, :, ::-1])
        for at in np.flatnonzero(np.maximum(straight, mirrored) >= _COARSE_AGREEMENT).tolist():
            second = fine_other[at] if straight[at] >= mirrored[at] else fine_other[at, :, ::-1]
            found[start + at] = _laid_over(fine[at], np.ascontiguousarray(second))
    return found


def _layers(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fine and coarse pictures without background; float32 (n, 32, 32)."""
    grey = np.ascontiguousarray(thumbnails, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
    fine = np.empty_like(grey)
    coarse = np.empty_like(grey)
    for place, picture in enumerate(grey):
        fine[place] = picture - cv2.GaussianBlur(picture, (0, 0), _BACKGROUND)
        coarse[place] = cv2.GaussianBlur(fine[place], (0, 0), _COARSE)
    return fine, coarse


def _agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of each pair; 0 if a picture has no structure."""
    one = one - one.mean(axis=(1, 2), keepdims=True)
    other = other - other.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("nij,nij->n", one, one) * np.einsum("nij,nij->n", other, other))
    return np.asarray(np.einsum("nij,nij->n", one, other) / np.maximum(length, 1e-3))


def _laid_over(first: np.ndarray, second: np.ndarray) -> float:
    warp = np.eye(2, 3, dtype=np.float32)
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, 1e-3)
    try:
        _, warp = cv2.findTransformECC(first, second, warp, cv2.MOTION_AFFINE, enough, _MASK, 1)
    except cv2.error:  # the alignment left the picture: the two are not alike
        return 0.0
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    over = cv2.warpAffine(second, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    a, b = first[_INNER].ravel(), over[_INNER].ravel()
    da, db = a - a.mean(), b - b.mean()
    off = np.abs(da - (da @ db) / max(float(db @ db), 1e-3) * db)
    last = int((1 - _COVERED) * len(off))
    near = off <= np.partition(off, last)[last]
    da, db = a[near] - a[near].mean(), b[near] - b[near].mean()
    return float(da @ db) / max(float(np.sqrt((da @ da) * (db @ db))), 1e-3)
