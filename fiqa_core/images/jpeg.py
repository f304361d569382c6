"""JPEG: header, limits, then libjpeg-turbo told to stop at the first sign of damage.

Nearly every face is a JPEG, so this is the fast path: simplejpeg decodes twice as fast as Pillow, gives up
the interpreter's lock while it does, and its pixels equal Pillow's (both are libjpeg-turbo with the accurate
DCT and smooth upsampling; the tests compare them over real faces and every kind of JPEG). In its strict mode
it also reports what Pillow and OpenCV keep silent about: entropy-coded data that do not add up.

A JPEG has no checksum. Damage that turns valid codes into other valid codes cannot be seen by any decoder.
"""

import io
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import JpegImagePlugin

from fiqa_core.images.admission import ImageLimits, ImageRejected, check_size
from fiqa_core.images.orientation import exif_orientation
from schemas.reasons import Status

_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Baseline, extended, progressive, and the last two with arithmetic coding.
_DECODABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_NO_BODY = {0x01, *range(0xD0, 0xD8)}
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
# A small file can hold thousands of scans that each go over every pixel. Encoders write about ten.
_MAX_SCANS = 100
# Warnings of libjpeg that concern metadata only; the pixels are whole.
_HARMLESS = ("JFIF revision", "Adobe color transform", "Invalid SOS parameters", "bad ICC marker")


class JpegHeader(NamedTuple):
    """What stands before the first scan.

    `process` is the SOF marker's second byte; `precision` bits a sample; `orientation` EXIF's, 1..8;
    `one_scan`: sequential coding with all components in the first scan, so that its end is the image's.
    """

    process: int
    precision: int
    width: int
    height: int
    components: int
    orientation: int
    one_scan: bool


def decode_jpeg(data: bytes, limits: ImageLimits) -> tuple[np.ndarray, JpegHeader]:
    """Pixels, uint8 (height, width, 3) RGB in stored orientation, and the header.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE or TOO_SMALL.
    """
    header = scan(data)
    check_size(header.width, header.height, limits)
    _check_kind(header, data)
    try:
        pixels = _decode(data, header)
    except ImageRejected as error:
        raise ImageRejected(error.status, error.message, header.width, header.height) from error
    if pixels.shape != (header.height, header.width, 3):
        raise ImageRejected(
            Status.CORRUPT,
            f"JPEG: the header gives {header.width} x {header.height} pixels, the decoder {pixels.shape[:2]}",
            header.width,
            header.height,
        )
    return pixels, header


def scan(data: bytes) -> JpegHeader:
    """Read the segments up to the first scan.

    Raises:
        ImageRejected: TRUNCATED (ends among them) or CORRUPT.
    """
    frame: _Frame | None = None
    orientation: int | None = None
    marker, position = _next_marker(data, 2)
    while marker is not None:
        if marker in _NO_BODY:
            marker, position = _next_marker(data, position)
            continue
        body, end = _segment(data, position)
        if marker in _SOF and frame is None and len(body) >= 6:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            frame = _Frame(marker, body[0], width, height, body[5])
        if marker == _EOI or end < position + 2:
            raise _rejected(Status.CORRUPT, "JPEG: the segments end without image data", frame)
        if end > len(data):
            break
        if marker == _APP1 and orientation is None and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body)
        if marker == _SOS:
            if frame is None:
                raise _rejected(Status.CORRUPT, "JPEG: a scan comes before the frame header", None)
            one_scan = frame.process in _SEQUENTIAL and body[:1] == bytes([frame.components])
            return JpegHeader(*frame, orientation or 1, one_scan)
        marker, position = _next_marker(data, end)
    raise _rejected(Status.TRUNCATED, "JPEG: the file ends before its first scan", frame)


class _Frame(NamedTuple):
    process: int
    precision: int
    width: int
    height: int
    components: int


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    """A segment's body (as much of it as is there), and where it ends by its own account."""
    end = position + int.from_bytes(data[position : position + 2], "big")
    if position + 2 > len(data):
        end = position + 2
    return data[position + 2 : end], end


def _next_marker(data: bytes, position: int) -> tuple[int | None, int]:
    """The next marker's second byte and the place after it; (None, _) when the data end first."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            return None, len(data)
        while data[position : position + 1] == b"\xff":
            position += 1
        if position >= len(data):
            return None, position
        if data[position] != 0:
            return data[position], position + 1


def _rejected(status: Status, message: str, frame: _Frame | None) -> ImageRejected:
    return ImageRejected(status, message, frame and frame.width, frame and frame.height)


def _check_kind(header: JpegHeader, data: bytes) -> None:
    unsupported = ""
    if header.process not in _DECODABLE:
        unsupported = f"JPEG process SOF{header.process - 0xC0} (lossless or hierarchical)"
    elif header.precision != 8:
        unsupported = f"JPEG of {header.precision} bits a sample"
    elif header.components not in (1, 3, 4):
        unsupported = f"JPEG of {header.components} components"
    elif header.process not in _SEQUENTIAL and data.count(b"\xff\xda") > _MAX_SCANS:
        unsupported = f"JPEG of more than {_MAX_SCANS} scans"
    if unsupported:
        raise ImageRejected(Status.UNSUPPORTED, f"{unsupported} is not decoded here", header.width, header.height)


def _decode(data: bytes, header: JpegHeader) -> np.ndarray:
    colours = "CMYK" if header.components == 4 else "RGB"
    try:
        pixels = _strictly(data, colours)
    except ValueError as error:
        complaint = str(error)
        if "Premature end of JPEG file" in complaint:
            pixels, data = _without_end_marker(data, header, colours)
        elif any(harmless in complaint for harmless in _HARMLESS) or "subsampling" in complaint:
            return _with_pillow(data)
        else:
            raise ImageRejected(Status.CORRUPT, f"JPEG: {complaint}") from error
    # How four inks become three colours is Pillow's convention; the strict pass only vouched for the data.
    return _with_pillow(data) if header.components == 4 else pixels


def _without_end_marker(data: bytes, header: JpegHeader, colours: str) -> tuple[np.ndarray, bytes]:
    """Decode a JPEG whose bytes ran out: good if nothing but the two bytes of its end marker is missing.

    With the marker put back, libjpeg has nothing to complain of only if every row's data are there. Files
    with several scans may lack whole scans without a sign of it, and get no second chance.
    """
    if header.one_scan:
        data += b"\xff\xd9"
        try:
            return _strictly(data, colours), data
        except ValueError:
            pass
    raise ImageRejected(Status.TRUNCATED, "JPEG: the file ends before its image does")


def _strictly(data: bytes, colours: str) -> np.ndarray:
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, colours, fastdct=False, fastupsample=False, strict=True)
    return pixels


def _with_pillow(data: bytes) -> np.ndarray:
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        status = Status.TRUNCATED if "truncated" in str(error) else Status.CORRUPT
        raise ImageRejected(status, f"JPEG: {error}") from error
