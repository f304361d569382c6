"""Stored bytes to 8-bit RGB pixels, or the reason why not. Content decides, never a name.

What pixels mean here, format by format (the tests hold each line; OpenCV's `IMREAD_COLOR`, with which the
original reads, gives the same unless a line says otherwise):

- formats: JPEG (with MPO), PNG, WebP, GIF, BMP, TIFF; all else is NOT_AN_IMAGE;
- grey: the one channel three times; 1 bit: 0 and 255; a palette: its colours;
- alpha, and a palette's or PNG's transparent colour: dropped, colours as stored under it (OpenCV multiplies
  TIFF colours by alpha);
- 16 bits a sample: the high byte (OpenCV rounds in TIFF); 32-bit and float samples, Lab: UNSUPPORTED;
- CMYK and YCCK JPEG: Pillow's conversion, without colour profile (OpenCV's differs by a few levels);
- colour profiles and gamma: not applied;
- EXIF orientation (JPEG, PNG, WebP) and the TIFF tag: applied;
- several frames or pages: the first.

What counts as damage:

- JPEG: anything libjpeg warns of in the coded data, where Pillow and OpenCV pass grey or shifted blocks on.
  A missing end marker is harmless if all rows are there and the coding is of one scan; a progressive file
  that ends early may lack detail everywhere, and is TRUNCATED. Bytes after the end are harmless.
- PNG: a chunk whose checksum does not fit is CORRUPT; a file without its last chunk (IEND) is TRUNCATED.
- WebP: fewer bytes than the header announces is TRUNCATED. Neither JPEG nor WebP has a checksum: damage
  that still decodes to something cannot be seen.
"""

from dataclasses import dataclass

import numpy as np

from fiqa_core.images.admission import ImageLimits, ImageRejected
from fiqa_core.images.headers import ImageFormat, recognise
from fiqa_core.images.jpeg import decode_jpeg
from fiqa_core.images.pillow_formats import decode_with_pillow
from schemas.reasons import Status

__all__ = ["DecodedImage", "ImageLimits", "ImageRejected", "decode_rgb"]


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, C-contiguous, upright; not to be written to.
        width, height: the stored size in pixels, as the header says; exchanged with respect to `pixels`
            where the orientation turns the image by 90 degrees.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode_rgb(data: bytes | memoryview, limits: ImageLimits) -> DecodedImage:
    """Decode one image. Thread-safe; for JPEG the interpreter's lock is free while libjpeg works.

    Raises:
        ImageRejected: EMPTY, NOT_AN_IMAGE, TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE or TOO_SMALL; no
            other exception leaves this function.
    """
    data = bytes(data)
    if not data:
        raise ImageRejected(Status.EMPTY, "the image is zero bytes long")
    image_format = recognise(data)
    if image_format is None:
        raise ImageRejected(
            Status.NOT_AN_IMAGE,
            f"the bytes begin with {data[:12]!r}; expected {', '.join(ImageFormat)}",
        )
    try:
        if image_format is ImageFormat.JPEG:
            return DecodedImage(*decode_jpeg(data, limits))
        return DecodedImage(*decode_with_pillow(image_format, data, limits))
    except MemoryError as error:
        raise ImageRejected(Status.TOO_LARGE, "there is not enough memory to decode it") from error
