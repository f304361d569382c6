"""Light and colour of the face, by the formulas of OFIQ (ISO/IEC 29794-5), on the region of `face_region`.

Given the same pixels and the same region, the values are OFIQ's. OFIQ warps the face to 616x616 pixels first, finds the
region of each face by landmarks, and leaves out pixels that hands or glasses cover; that takes networks.
"""

import cv2
import numpy as np

from fiqa_core.images.face_region import BOX, FACE, cheeks

_LEVELS = np.arange(256) / 255.0
_DARK, _BRIGHT = 25, 247  # the last dark and the first bright level
_IN_FACE = np.ascontiguousarray(FACE[BOX])

# Rows: X, Y, Z of the linear red, green and blue of sRGB, adapted to the white D50.
_XYZ = np.array([[0.43605, 0.38508, 0.14309], [0.22249, 0.71689, 0.06062], [0.01393, 0.09710, 0.71419]])
_WHITE = np.array([0.964221, 1.0, 0.825211])
_SMALL = 216 / 24389
_SLOPE = 24289 / 27  # as OFIQ has it; CIE's constant is 24389 / 27


def _linear(values: np.ndarray) -> np.ndarray:
    """Light of sRGB values, both 0..1."""
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


# Luminance is a weighted sum of linear red, green and blue; the weights are in the table already.
_LIGHT = (255 * np.array([0.2126, 0.7152, 0.0722]) * _linear(_LEVELS)[None, :, None]).astype(np.float32)
_SUM = np.ones((1, 3), np.float32)


def luminance(image: np.ndarray) -> np.ndarray:
    """Linear luminance (Rec. 709), uint8 (H, W), 255 = white, of uint8 (H, W, 3) RGB."""
    return np.asarray(cv2.convertScaleAbs(cv2.transform(cv2.LUT(image, _LIGHT), _SUM)))


class FaceLight:
    """Gathers histograms image by image, and measures all of them at once."""

    def __init__(self, count: int) -> None:
        self._face = np.zeros((count, 256))
        self._sides = np.zeros((count, 2, 256))
        self._skin = np.zeros((count, 3))

    def add(self, place: int, image: np.ndarray) -> None:
        """Take one image, uint8 (112, 112, 3) RGB."""
        self._face[place] = _histogram(luminance(image[BOX]), _IN_FACE)
        skin = cheeks(image)
        light = luminance(skin)
        half = light.shape[1] // 2
        self._sides[place] = _histogram(light[:, :half]), _histogram(light[:, half:])
        self._skin[place] = cv2.mean(skin)[:3]

    def measured(self) -> dict[str, np.ndarray]:
        """Values by component, float64 (number of images,)."""
        share = self._face / self._face.sum(axis=1, keepdims=True)
        mean = (share * _LEVELS).sum(axis=1)
        sides = self._sides / self._sides.sum(axis=2, keepdims=True)
        return {
            "luminance_mean": mean,
            "luminance_variance": (share * (_LEVELS - mean[:, None]) ** 2).sum(axis=1),
            "under_exposure_prevention": share[:, : _DARK + 1].sum(axis=1),
            "over_exposure_prevention": share[:, _BRIGHT:].sum(axis=1),
            "dynamic_range": np.abs((share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)),
            "illumination_uniformity": np.minimum(sides[:, 0], sides[:, 1]).sum(axis=1),
            "natural_colour": _distance_from_skin(self._skin / 255.0),
        }


def _histogram(levels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    return np.asarray(cv2.calcHist([levels], [0], mask, [256], [0, 256])).ravel()


def _distance_from_skin(colour: np.ndarray) -> np.ndarray:
    """How far a*, b* (CIELAB) of mean colours (N, 3), 0..1, are from those of skin; 100 if one of them is negative."""
    light = _linear(colour)
    ratio = (light[:, None, :] * _XYZ).sum(axis=2) / _WHITE
    x, y, z = np.where(ratio > _SMALL, np.cbrt(ratio), (_SLOPE * ratio + 16) / 116).T
    a, b = 500 * (x - y), 200 * (y - z)
    off_a = np.maximum(0.0, np.maximum(5 - a, a - 25))
    off_b = np.maximum(0.0, np.maximum(5 - b, b - 35))
    return np.where((a >= 0) & (b >= 0), np.hypot(off_a, off_b), 100.0)
