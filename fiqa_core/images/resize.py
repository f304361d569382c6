"""Bilinear resize to the network's input, equal to OpenCV's INTER_LINEAR (which the original used)."""

import cv2
import numpy as np

SIDE = 112


def to_network_size(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 RGB (H, W, 3) to contiguous uint8 RGB (side, side, 3); the shape is stretched, as in the original.

    OpenCV's fixed-point arithmetic is part of the result: a float bilinear differs by a grey level.
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR))
