"""Contrast, sharpness, noise, detail and blocks of the luminance as screens show it (BT.601), on the whole image."""

import cv2
import numpy as np

_BLOCK = 8
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_SCALE = float(np.sqrt(np.pi / 2) / 6)


class Texture:
    """Gathers what can only be measured image by image, and measures all images at once."""

    def __init__(self, count: int) -> None:
        self._levels = np.zeros((count, 256))
        self._found = {name: np.zeros(count) for name in ("side_light", "sharpness", "noise", "detail")}

    def add(self, place: int, grey: np.ndarray, centred: np.ndarray) -> None:
        """Take one image: uint8 (H, W), and the same without its mean as float32."""
        self._levels[place] = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
        residue = np.ascontiguousarray(cv2.filter2D(grey, cv2.CV_16S, _IMMERKAER)[1:-1, 1:-1])
        found = self._found
        found["side_light"][place] = _side_light(grey)
        found["sharpness"][place] = _variance(cv2.Laplacian(grey, cv2.CV_16S))
        found["noise"][place] = _NOISE_SCALE * cv2.norm(residue, cv2.NORM_L1) / residue.size
        found["detail"][place] = _detail(centred)

    def measured(self) -> dict[str, np.ndarray]:
        """Values by measure, float64 (number of images,); without `blocking`."""
        below = np.cumsum(self._levels, axis=1) / self._levels.sum(axis=1, keepdims=True)
        # The first level at which so large a share of the pixels is reached.
        low, high = ((below < share).sum(axis=1) for share in (0.05, 0.95))
        return {"contrast": (high - low).astype(np.float64), **self._found}


def neighbour_steps(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute difference of neighbouring columns, float32 (W - 1,), and rows, (H - 1,)."""
    across = cv2.reduce(cv2.absdiff(grey[:, 1:], grey[:, :-1]), 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    down = cv2.reduce(cv2.absdiff(grey[1:], grey[:-1]), 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    return across.ravel(), down.ravel()


def blocking(steps: np.ndarray) -> np.ndarray:
    """Steps at edges of 8x8 blocks over those inside, float64 (B,), of steps (B, 2, 111); 1 where nothing changes."""
    at_border = steps[:, :, _BLOCK - 1 :: _BLOCK]
    inside = (steps.sum(axis=2) - at_border.sum(axis=2)) / (steps.shape[2] - at_border.shape[2])
    border, inside = at_border.mean(axis=2).sum(axis=1), inside.sum(axis=1)
    return np.where(inside > 0, border / np.where(inside > 0, inside, 1.0), 1.0)


def _variance(values: np.ndarray) -> float:
    return cv2.norm(values, cv2.NORM_L2SQR) / values.size - cv2.mean(values)[0] ** 2  # meanStdDev is five times slower


def _side_light(grey: np.ndarray) -> float:
    middle = grey.shape[1] // 2
    left, right = cv2.mean(grey[:, :middle])[0], cv2.mean(grey[:, -middle:])[0]
    return abs(left - right) / max(left + right, 1.0)


def _detail(centred: np.ndarray) -> float:
    # A Haar transform is orthogonal: what means of 2x2 pixels do not hold is in the finest scale.
    height, width = (side // 2 for side in centred.shape)
    coarse = cv2.resize(centred, (width, height), interpolation=cv2.INTER_AREA)
    whole = cv2.norm(centred, cv2.NORM_L2SQR)
    return max(0.0, 1.0 - 4 * cv2.norm(coarse, cv2.NORM_L2SQR) / whole) if whole > 1 else 0.0  # less is rounding
