"""AVIF by Pillow's own libavif, HEIC by libheif (extra `[images]`): pictures in boxes of an ISO media file.

The decoders are called below their Pillow classes, which read EXIF: as in the other formats, metadata cost nothing and
change nothing. How the picture is turned stands in boxes of its own (`irot`, `imir`), which both decoders know; the
standard says that EXIF's orientation does not count here (MIAF, ISO 23000-22, 7.3.9).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fiqa_core.extras import install_extra
from fiqa_core.images.admission import ImageLimits, ImageRejected, check_size, decoder_failure
from fiqa_core.images.headers import ImageFormat
from fiqa_core.images.orientation import upright
from schemas.reasons import Status

Decoded = tuple[np.ndarray, int, int]
_CHANNELS = {"L": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
_ENDS_EARLY = ("end of file", "truncated")


def decode_boxes(image_format: ImageFormat, data: bytes, limits: ImageLimits) -> Decoded:
    """Upright pixels, uint8 (H, W, 3) RGB, and the stored width and height. (Of HEIC the width and height of the
    upright picture: libheif tells no others.)

    Raises:
        ImageRejected: TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE or TOO_SMALL.
    """
    try:
        return _DECODERS[image_format](data, limits)
    except ImageRejected:
        raise
    # libavif and libheif report through ValueError, RuntimeError, EOFError, SyntaxError and OSError.
    except Exception as error:
        failure = decoder_failure(image_format, error)
        if failure.status is Status.CORRUPT and any(words in str(error).lower() for words in _ENDS_EARLY):
            raise ImageRejected(Status.TRUNCATED, failure.message) from error
        raise failure from error


def _decode_avif(data: bytes, limits: ImageLimits) -> Decoded:
    try:
        # The decoder below Pillow's plugin. Pillow may be built without it.
        from PIL import _avif
    except ImportError as error:
        raise ImageRejected(
            Status.UNSUPPORTED, "AVIF is not decoded by this build of Pillow; install Pillow's wheel from PyPI"
        ) from error
    decoder = _avif.AvifDecoder(data, "auto", 1)
    (width, height), _, mode, _, _, orientation, _ = decoder.get_info()
    check_size(width, height, limits)
    stored = decoder.get_frame(0)[0]
    pixels = _rgb(stored, width, height, mode, width * _CHANNELS.get(mode, 0))
    return upright(pixels, orientation), width, height


def _decode_heic(data: bytes, limits: ImageLimits) -> Decoded:
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageRejected(
            Status.UNSUPPORTED, f"HEIC is decoded by pillow-heif, which is not installed: {install_extra('images')}"
        ) from error
    file: Any = pillow_heif.open_heif(data, convert_hdr_to_8bit=True, bgr_mode=False)
    image = file[file.primary_index]
    width, height = image.size
    check_size(width, height, limits)
    return _rgb(image.data, width, height, image.mode, image.stride), width, height


def _rgb(stored: Any, width: int, height: int, mode: str, stride: int) -> np.ndarray:
    """Pixels of rows of `stride` bytes; alpha is dropped, grey repeated."""
    channels = _CHANNELS.get(mode)
    if channels is None:
        raise ImageRejected(Status.UNSUPPORTED, f"pixels of mode {mode!r} have no 8-bit RGB value", width, height)
    rows = np.frombuffer(stored, np.uint8, stride * height).reshape(height, stride)
    pixels = rows[:, : width * channels].reshape(height, width, channels)
    return np.repeat(pixels[:, :, :1], 3, axis=2) if channels < 3 else np.ascontiguousarray(pixels[:, :, :3])


_DECODERS: dict[ImageFormat, Callable[[bytes, ImageLimits], Decoded]] = {
    ImageFormat.AVIF: _decode_avif,
    ImageFormat.HEIC: _decode_heic,
}
