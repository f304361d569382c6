"""Stored image bytes to 8-bit RGB pixels, or the reason why not.

Every kind of image has one meaning here: grey is repeated in three channels; a palette gives its colours;
transparency is dropped, colours stay as stored; CMYK goes through Pillow's conversion; 16-bit samples keep
their high byte; 1-bit is 0 or 255; of an animation the first frame counts; an EXIF orientation is applied
(as OpenCV's imread does, which the original scoring script used). Float and 32-bit integer images have no
8-bit meaning and are refused. The content decides about the format, never the file's name.

Ordinary JPEG goes through simplejpeg (libjpeg-turbo, accurate DCT and upsampling), whose pixels equal
Pillow's; whatever it does not take without complaint goes through Pillow, which then names the reason.
"""

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.reasons import Status

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_EXIF_ORIENTATION = 0x0112
_BROKEN = (OSError, SyntaxError, ValueError, struct.error, OverflowError, IndexError, KeyError, TypeError, EOFError)


@dataclass(frozen=True)
class ImageLimits:
    """Admitted sizes in pixels: shortest side, longest side, width times height."""

    min_side: int = 16
    max_side: int = 10_000
    max_pixels: int = 40_000_000


class ImageRejected(Exception):  # noqa: N818 (a verdict on an image, not an error of the program)
    """The image cannot be used: `status` is the reason code, width and height are given where known."""

    def __init__(self, status: Status, message: str, width: int | None = None, height: int | None = None) -> None:
        super().__init__(status, message, width, height)
        self.status = status
        self.message = message
        self.width = width
        self.height = height

    def __str__(self) -> str:
        return f"{self.status.value}: {self.message}"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """`pixels` uint8 RGB (H, W, 3); `width`, `height` as stored, before an EXIF rotation."""

    pixels: np.ndarray
    width: int
    height: int


def decode_rgb(data: bytes, limits: ImageLimits) -> DecodedImage:
    """Decode one image to 8-bit RGB.

    The size in the header is checked before any pixel is decoded, so a decompression bomb costs nothing.

    Raises:
        ImageRejected: with the reason; nothing else is raised for any content.
    """
    if not data:
        raise ImageRejected(Status.EMPTY, "zero bytes")
    if data[:3] == b"\xff\xd8\xff" and b"Exif" not in data:
        fast = _decode_plain_jpeg(data, limits)
        if fast is not None:
            return fast
    return _decode_with_pillow(data, limits)


def _decode_plain_jpeg(data: bytes, limits: ImageLimits) -> DecodedImage | None:
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colour not in ("YCbCr", "Gray"):
        return None
    _check_size(width, height, limits)
    try:
        # strict (the default): a warning of libjpeg, such as damaged or missing data, is an error.
        pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    except (ValueError, MemoryError):
        return None
    return DecodedImage(pixels, width, height)


def _decode_with_pillow(data: bytes, limits: ImageLimits) -> DecodedImage:
    width = height = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                _check_size(width, height, limits)
                pixels = _rgb(image)
    except ImageRejected:
        raise
    except UnidentifiedImageError:
        raise _rejected_unidentified(data) from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageRejected(Status.TOO_LARGE, str(error) or "out of memory", width, height) from error
    except _BROKEN as error:
        raise _rejected_broken(error, width, height) from error
    return DecodedImage(pixels, width, height)


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    size = f"{width} x {height} pixels"
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        limit = f"the limits are {limits.max_side} a side and {limits.max_pixels} in all"
        raise ImageRejected(Status.TOO_LARGE, f"{size}; {limit}", width, height)
    if min(width, height) < limits.min_side:
        raise ImageRejected(Status.TOO_SMALL, f"{size}; the limit is {limits.min_side} a side", width, height)


def _rgb(image: Image.Image) -> np.ndarray:
    image.load()
    if image.mode in ("I", "F"):
        width, height = image.size
        raise ImageRejected(Status.UNSUPPORTED, f"pixels of mode {image.mode} have no 8-bit meaning", width, height)
    turned: Image.Image = image
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        turned = ImageOps.exif_transpose(image) or image
    if turned.mode.startswith("I;16"):
        grey = (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(turned.convert("RGB")))


def _rejected_unidentified(data: bytes) -> ImageRejected:
    known = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    if data.startswith(known):
        # The signature is there and the header after it is not: cut off, or overwritten.
        status = Status.TRUNCATED if len(data) < 1024 else Status.CORRUPT
        return ImageRejected(status, f"an image's signature, but no readable header ({len(data)} bytes)")
    start = data[:16].decode("ascii", "backslashreplace")
    return ImageRejected(Status.NOT_AN_IMAGE, f"starts with {start!r}; read here: {', '.join(FORMATS)}")


def _rejected_broken(error: BaseException, width: int | None, height: int | None) -> ImageRejected:
    message = " ".join(str(error).split())[:200] or type(error).__name__
    cut = isinstance(error, EOFError) or "truncated" in message.lower() or "unexpected end" in message.lower()
    return ImageRejected(Status.TRUNCATED if cut else Status.CORRUPT, message, width, height)
