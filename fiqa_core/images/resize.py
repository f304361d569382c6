"""Resizing to the network's input size, as the original does it."""

import cv2
import numpy as np

NETWORK_SIDE = 112  # pixels


def to_network_size(pixels: np.ndarray, side: int = NETWORK_SIDE) -> np.ndarray:
    """Resize uint8 (H, W, 3) to uint8 (side, side, 3), C-contiguous; aspect ratio is not kept.

    OpenCV's INTER_LINEAR, as the original scores with: four neighbours a pixel, no smoothing when shrinking,
    so other libraries' "bilinear" gives other scores. An image that already has the size is returned unchanged.
    OpenCV divides work among its own threads only above 65,536 output pixels, so at 112 x 112 worker
    threads need no `cv2.setNumThreads`, which is global to the process.
    """
    if pixels.shape[:2] == (side, side):
        return np.ascontiguousarray(pixels)
    resized: np.ndarray = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    return resized
