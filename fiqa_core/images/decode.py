"""Stored bytes to 8-bit RGB pixels, or the reason why not. The content decides, never the name.

What pixels mean here, format by format. The tests check each line. OpenCV's `IMREAD_COLOR`, which the original
uses, gives the same pixels unless a line says otherwise:

- formats: JPEG (with MPO), PNG (with APNG), WebP, GIF, BMP, TIFF, AVIF, and HEIC where pillow-heif is installed (else
  UNSUPPORTED); other known ones (JPEG 2000, JPEG XL, camera raw, PSD, SVG, PDF, videos ...) are UNSUPPORTED by their
  content, everything else is NOT_AN_IMAGE. (Files named
  like drawings, icons, documents or videos are not records: in a folder they are skipped and named in the log, and a
  sample of a tar with nothing else is MISSING_IMAGE);
- grey: the one channel three times; 1 bit: 0 and 255; a palette: its colours;
- alpha, and a palette's or PNG's transparent colour: dropped, colours as stored under it (OpenCV multiplies
  TIFF colours by alpha);
- 16 bits a sample: the high byte (OpenCV rounds in TIFF); 32-bit and float samples, Lab: UNSUPPORTED;
- CMYK and YCCK JPEG: Pillow's conversion, without colour profile (OpenCV's differs by a few levels);
- colour profiles and gamma: not applied;
- EXIF orientation (JPEG, PNG, WebP) and the TIFF tag: applied, whatever integer type it is stored in;
- AVIF and HEIC: turned as their own boxes say, EXIF does not count; more than 8 bits a sample: the decoder's rounding;
  OpenCV decodes AVIF with its own conversion from YUV, which differs by a few levels, and no HEIC;
- several frames or pages: the first; of an animated PNG the picture that other readers show;
- text, profiles, thumbnails, unknown parts and bytes after the end: never read, whatever their size and state.

What counts as damage:

- JPEG: everything that libjpeg warns about in the coded data; Pillow and OpenCV return grey or shifted blocks there.
  (Rare subsamplings, which simplejpeg does not decode, are decoded by Pillow, which reports only missing data.) Bytes
  between the segments of the header, up to two left over after each scan, and all after the end marker are harmless.
  But if they show that a table, a frame header or a scan was damaged (`jpeg_tables`, `jpeg_scans`: a byte inserted or
  removed, a marker overwritten), the file is CORRUPT, even if its pixels do not use that part of the table. Damaged
  quantisation steps that are not libjpeg's cannot be seen: such a file is scored as OpenCV decodes it. A missing end
  marker is harmless if all rows are there and the coding is Huffman's in one scan; a progressive file that ends early
  may lack detail everywhere, and is TRUNCATED. More than 100 scans (libjpeg's own encoders write about ten) are
  UNSUPPORTED if they would take seconds.
- PNG: a chunk of the pixels (IHDR, PLTE, IDAT) with a wrong checksum or in a wrong place is CORRUPT; a file
  without its last chunk (IEND), or with too few rows, is TRUNCATED; more than a million chunks are UNSUPPORTED. Other
  chunks may be damaged, since they hold no pixels.
- WebP: fewer bytes than the header announces is TRUNCATED. Neither JPEG nor WebP has a checksum: damage that still
  decodes to something cannot be seen.
- GIF: codes that make too few or too many pixels, or end before their blocks do, and bytes between the colours and the
  first block (a colour was inserted) are CORRUPT; OpenCV refuses those too.
- TIFF: fewer strips or tiles than the pixels take is CORRUPT; a directory or tag that ends after the file is TRUNCATED.
"""

from typing import NamedTuple

import numpy as np

from fiqa_core.images.admission import ImageLimits, ImageRejected
from fiqa_core.images.box_formats import decode_boxes
from fiqa_core.images.foreign_formats import foreign_format
from fiqa_core.images.headers import ImageFormat, recognise
from fiqa_core.images.jpeg import decode_jpeg
from fiqa_core.images.pillow_formats import decode_with_pillow
from schemas.reasons import Status

__all__ = ["DecodedImage", "ImageLimits", "ImageRejected", "decode_rgb"]


class DecodedImage(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, C-contiguous, upright; not to be written to.
        width, height: the stored size in pixels, as the header says; exchanged compared with `pixels`
            if the orientation turns the image by 90 degrees.
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
        if image_format in (ImageFormat.AVIF, ImageFormat.HEIC):
            return DecodedImage(*decode_boxes(image_format, data, limits))
        return DecodedImage(*decode_with_pillow(image_format, data, limits))
    except MemoryError as error:
        raise ImageRejected(Status.TOO_LARGE, "there is not enough memory to decode it") from error
