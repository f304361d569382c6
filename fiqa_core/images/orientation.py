"""The orientation in EXIF: reading it, and turning pixels upright."""

from typing import Literal

import numpy as np

EXIF = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
# Bytes of one number of each integer type of TIFF, by its code: BYTE, SHORT, LONG, their signed kinds, IFD.
_INTEGER_SIZES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4}


def exif_orientation(exif: bytes) -> int:
    """The Orientation tag, 1..8, of an EXIF block as `stored_orientation` reads it; 1 (upright) if there is none."""
    return stored_orientation(exif) or 1


def stored_orientation(exif: bytes) -> int | None:
    """The Orientation tag, 1..8, of an EXIF block with or without its `Exif\\0\\0` prefix, whatever its integer type.

    None if there is none or the block is damaged: as in OpenCV, bad metadata are no reason to refuse good pixels.
    (Read here because Pillow's reader warns, raises, and also reads XMP.)
    """
    block = exif.removeprefix(EXIF)
    # The two letters are equal, and OpenCV reads only the second one.
    if block[1:4] not in (b"I*\0", b"M\0*"):
        return None
    order: Literal["little", "big"] = "little" if block[1:2] == b"I" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(block[start : start + size], order)

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if entry + 12 > len(block):
            return None
        if number(entry, 2) == _ORIENTATION_TAG:
            size, count = _INTEGER_SIZES.get(number(entry + 2, 2), 0), number(entry + 4, 4)
            # More than four bytes of values are stored elsewhere; the first value counts.
            value = number(entry + 8 if size * count <= 4 else number(entry + 8, 4), size)
            if not 1 <= value <= 8:
                # With an unusual type or count: what OpenCV reads there.
                value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else None
    return None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`pixels` (H, W, C) turned and mirrored as `orientation` (1..8, EXIF 2.3 table 6) asks; contiguous.

    5 to 8 exchange height and width.
    """
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
