"""JPEG: header, limits, then libjpeg-turbo in its strict mode, which stops at the first sign of damage.

Nearly every face is a JPEG, so this is the fast path: simplejpeg decodes twice as fast as Pillow, releases
the interpreter's lock meanwhile, and its pixels equal Pillow's (both are libjpeg-turbo with the accurate
DCT and smooth upsampling; the tests compare them over real faces and every kind of JPEG). In its strict mode
it also reports what Pillow and OpenCV do not: inconsistent entropy-coded data.

A JPEG has no checksum, and its codes synchronise by themselves: damage that leaves the right number of valid codes
cannot be seen by any decoder. Random bytes over a stretch of 112-pixel faces were noticed in 27 %
of files when 1 byte long, 66 % at 30 bytes, 88 % at 100, 99.7 % at 512 (Pillow: 1, 12, 29 % up to 100).
"""

import io
import re

import numpy as np
import simplejpeg
from PIL import JpegImagePlugin

from fiqa_core.images.admission import ImageLimits, ImageRejected, check_size, decoder_failure
from fiqa_core.images.jpeg_segments import EOI, MAX_SCANS, JpegHeader, read_segments
from fiqa_core.images.orientation import EXIF, upright
from schemas.reasons import Status

# Hierarchical coding; libjpeg knows baseline, extended, progressive, lossless, and arithmetic codes.
_HIERARCHICAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
# Counting the scans costs a twentieth of decoding. It is skipped for files so small that any number of scans is
# harmless: the decoder passes over this many pixels in about two seconds, even if each scan is as short as possible.
_SHORTEST_SCAN, _SCANNED_PIXELS = 10, 4_000_000_000
# Some encoders leave a byte or two after a scan's coded data. Damage also leaves bytes over, but more of them: of 1,936
# damaged files for which libjpeg reported this, 3 had two or fewer.
_MOST_LEFT_OVER = 2
# Pixels times scans; each scan that ends so is decoded five times.
_MOST_DECODED_AGAIN = 400_000_000
_left_over = re.compile(r"Corrupt JPEG data: [12] extraneous bytes before marker").search


def decode_jpeg(data: bytes, limits: ImageLimits) -> tuple[np.ndarray, int, int]:
    """Upright pixels, uint8 (H, W, 3) RGB, and the stored width and height.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE or TOO_SMALL.
    """
    return _ordinary(data, limits) or _any(data, limits)


def _ordinary(data: bytes, limits: ImageLimits) -> tuple[np.ndarray, int, int] | None:
    """Decode an ordinary grey or colour JPEG; None if `_any` must look closer.

    The checks are those of `_any` without the walk over the segments, which would cost a tenth of decoding a face.
    """
    if EXIF in data:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height, limits)
        if len(data) // _SHORTEST_SCAN * width * height > _SCANNED_PIXELS and data.count(b"\xff\xda") > MAX_SCANS:
            return None
        return None if colours in ("CMYK", "YCCK") else (_strictly(data, "RGB"), width, height)
    except ImageRejected:
        raise
    except Exception:
        return None


def _any(data: bytes, limits: ImageLimits) -> tuple[np.ndarray, int, int]:
    size: tuple[int | None, int | None] = None, None
    try:
        header = read_segments(data)
        size = header.width, header.height
        check_size(*size, limits)
        _check_kind(header)
        return upright(_decode(header), header.orientation), *size
    except ImageRejected as error:
        width, height = size if size[0] is not None else (error.width, error.height)
        raise ImageRejected(error.status, error.message, width, height) from error
    # Any other error of a decoder on hostile bytes concerns this one image.
    except Exception as error:
        raise decoder_failure("JPEG", error, *size) from error


def _check_kind(header: JpegHeader) -> None:
    unsupported = ""
    if header.process in _HIERARCHICAL:
        unsupported = f"JPEG of hierarchical process SOF{header.process - 0xC0}"
    elif header.precision != 8:
        unsupported = f"JPEG of {header.precision} bits a sample"
    elif header.components not in (1, 3, 4):
        unsupported = f"JPEG of {header.components} components"
    elif header.scans > MAX_SCANS:
        unsupported = f"JPEG of more than {MAX_SCANS} scans"
    if unsupported:
        raise ImageRejected(Status.UNSUPPORTED, f"{unsupported} is not decoded here", header.width, header.height)


def _decode(header: JpegHeader) -> np.ndarray:
    if not (header.ended or header.one_scan):
        # Whole scans may be missing without any sign.
        raise ImageRejected(Status.TRUNCATED, "JPEG: the file ends before its image does")
    image = header.image
    try:
        pixels = _without_left_overs(header, "CMYK" if header.components == 4 else "RGB")
    except ValueError as error:
        if "subsampling" in str(error):
            return _with_pillow(image)
        if header.ended:
            raise ImageRejected(Status.CORRUPT, f"JPEG: {error}") from error
        raise ImageRejected(Status.TRUNCATED, "JPEG: the file ends before its image does") from error
    # Four inks become three colours by Pillow's convention; the strict pass only checked the data.
    return _with_pillow(image) if header.components == 4 else pixels


def _without_left_overs(header: JpegHeader, colours: str) -> np.ndarray:
    """Decode; if libjpeg reports bytes left over, again without the last one or two bytes of a scan."""
    try:
        return _strictly(header.image, colours)
    except ValueError as error:
        work = header.width * header.height * header.scans
        if not _left_over(str(error)) or work > _MOST_DECODED_AGAIN:
            raise
        begin, kept, pixels = 0, b"", None
        for end in header.scan_ends:
            pixels, kept = _trimmed(kept + header.image[begin:end], colours)
            begin = end
        if pixels is None:
            raise
        return pixels


def _trimmed(image: bytes, colours: str) -> tuple[np.ndarray, bytes]:
    """(pixels, the image without its end marker) of the scans so far, less up to two bytes if only these exceed."""
    try:
        return _strictly(image + EOI, colours), image
    except ValueError as error:
        if not _left_over(str(error)):
            raise
        shortest = None
        for cut in range(1, _MOST_LEFT_OVER + 2):
            try:
                shorter = _strictly(image[:-cut] + EOI, colours), image[:-cut]
            except ValueError:
                continue
            if cut > _MOST_LEFT_OVER:
                raise
            shortest = shorter
        if shortest is None:
            raise
        return shortest


def _strictly(data: bytes, colours: str) -> np.ndarray:
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, colours, fastdct=False, fastupsample=False, strict=True)
    return pixels


def _with_pillow(data: bytes) -> np.ndarray:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
