"""A 64-bit perceptual hash: near-equal images differ in few bits (Zauner 2010, section 3.2: DCT based)."""

import cv2
import numpy as np

_SIDE = 32
_KEPT = slice(1, 9)


def perceptual_hash(pixels: np.ndarray) -> int:
    """The hash of uint8 RGB (112, 112, 3), as an unsigned 64-bit number. Thread-safe.

    Grey levels (OpenCV's RGB weights) are averaged down to 32 x 32 and transformed by a DCT. Of its
    coefficients the 8 x 8 of frequencies 1 to 8 in both directions count, so none that is constant over a row or
    a column, and not the mean brightness. A bit is 1 where a coefficient is above their median. Bit order: row by
    row (vertical frequency 1 first), the first coefficient in the most significant bit.

    The similarity of two images is 1 - (differing bits) / 64. All images without structure have hash 0.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[_KEPT, _KEPT]
    # Values far below one grey level are rounding errors, and must not become the hash of a plain image.
    low = np.where(np.abs(low) < 1e-3, 0, low)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")
