"""Square views into a picture by an affine matrix."""

import cv2
import numpy as np

_OPENCV_SIDE = 32_000  # pixels; cv2.warpAffine refuses sides of 32,767 and more


def square_view(pixels: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """uint8 (side, side, 3) in which the picture's point p is at `matrix @ (p, 1)`: bilinear, black outside.

    Where it shrinks the picture, pixels are passed over, as cv2.warpAffine does.
    """
    if max(pixels.shape[:2]) > _OPENCV_SIDE:
        pixels, matrix = _part_needed(pixels, matrix, side)
    return np.asarray(cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=0))


def smooth_square_view(pixels: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The same; what shrinks to half and less is first averaged over squares of whole pixels."""
    factor = int(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor > 1:
        pixels, matrix = _part_needed(pixels, matrix, side)
        rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
        if rows and columns:
            whole = pixels[: rows * factor, : columns * factor]
            pixels = np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))
            # Point q of the small picture is at factor * q + (factor - 1) / 2 of the large one.
            shift = matrix[:, :2] @ np.full(2, (factor - 1) / 2) + matrix[:, 2]
            matrix = np.column_stack([matrix[:, :2] * factor, shift])
    return square_view(pixels, matrix, side)


def _part_needed(pixels: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the view shows, with a margin, and the matrix for it."""
    corners = np.array([[-1, -1], [side, -1], [-1, side], [side, side]], np.float64)
    shown = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    height, width = pixels.shape[:2]
    margin = 2 + np.ptp(shown, axis=0) / side
    lower = np.floor(shown.min(axis=0) - margin).clip(0, [width - 1, height - 1]).astype(int)
    upper = np.ceil(shown.max(axis=0) + margin).clip(lower + 1, [width, height]).astype(int)
    moved = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ lower])
    return pixels[lower[1] : upper[1], lower[0] : upper[0]], moved
