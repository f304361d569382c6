"""Stored bytes to 8-bit RGB pixels, or the reason why not. Content decides, never a name.

What pixels mean here, format by format (the tests hold each line; OpenCV's `IMREAD_COLOR`, with which the
original reads, gives the same unless a line says otherwise):

- formats: JPEG (with MPO), PNG (with APNG), WebP, GIF, BMP, TIFF; other known ones (AVIF, HEIC, JPEG 2000, JPEG XL,
  camera raw, PSD, SVG, PDF, videos ...) are UNSUPPORTED by their content, all else is NOT_AN_IMAGE. (Files whose names
  are those of drawings, icons, documents or videos are no records: of a folder they are passed over and named in the
  log, and a sample of a tar that holds nothing else is MISSING_IMAGE);
- grey: the one channel three times; 1 bit: 0 and 255; a palette: its colours;
- alpha, and a palette's or PNG's transparent colour: dropped, colours as stored under it (OpenCV multiplies
  TIFF colours by alpha);
- 16 bits a sample: the high byte (OpenCV rounds in TIFF); 32-bit and float samples, Lab: UNSUPPORTED;
- CMYK and YCCK JPEG: Pillow's conversion, without colour profile (OpenCV's differs by a few levels);
- colour profiles and gamma: not applied;
- EXIF orientation (JPEG, PNG, WebP) and the TIFF tag: applied, whatever integer type it is stored in;
- several frames or pages: the first; of an animated PNG the picture that other readers show;
- text, profiles, thumbnails, unknown parts and bytes behind the end: never looked at, whatever their size and state.

What counts as damage:

- JPEG: anything libjpeg warns of in the coded data, where Pillow and OpenCV pass grey or shifted blocks on. (Rare
  subsamplings, which simplejpeg does not decode, are Pillow's, which tells only of missing data.) Bytes between the
  segments of the header, up to two left over behind each scan, and all behind the end marker are harmless. But where
  they show that a table, a frame header or a scan was damaged (`jpeg_tables`, `jpeg_scans`: a byte inserted or removed,
  a marker overwritten), the file is CORRUPT, also where its pixels happen not to use that part of the table. Nothing
  shows in quantisation steps that are not libjpeg's: such a file is scored as OpenCV decodes it. A missing end marker
  is harmless if all rows are there and the coding is Huffman's in one scan; a progressive file that ends early may
  lack detail everywhere, and is TRUNCATED. More than 100 scans (libjpeg's own encoders write about ten) are
  UNSUPPORTED where they would take seconds.
- PNG: a chunk of the pixels (IHDR, PLTE, IDAT) whose checksum does not fit or which is out of place is CORRUPT; a file
  without its last chunk (IEND), or with too few rows, is TRUNCATED; more than a million chunks are UNSUPPORTED. Other
  chunks may be damaged: they hold no pixels.
- WebP: fewer bytes than the header announces is TRUNCATED. Neither JPEG nor WebP has a checksum: damage that still
  decodes to something cannot be seen.
- GIF: codes that make too few or too many pixels, or end before their blocks do, and bytes between the colours and the
  first block (a colour was inserted) are CORRUPT; OpenCV refuses those too.
- TIFF: fewer strips or tiles than the pixels take is CORRUPT; a directory or tag that ends behind the file TRUNCATED.
"""

from dataclasses import dataclass

import numpy as np

from fiqa_core.images.admission import ImageLimits, ImageRejected
from fiqa_core.images.foreign_formats import foreign_format
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
        foreign = foreign_format(data)
        if foreign is not None:
            raise ImageRejected(
                Status.UNSUPPORTED, f"{foreign} is not decoded here; convert it to {', '.join(ImageFormat)}"
            )
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
