"""The header of an image, read without a decoder: format, stored size, whether the file is complete.

Decoders allocate memory by the header's size when they open a file, and some of them (Pillow's WebP reader) ignore
missing bytes; so both are checked here first.
"""

from enum import StrEnum
from typing import Literal

from fiqa_core.images.admission import ImageRejected
from fiqa_core.images.png_chunks import MAGIC as PNG_MAGIC
from fiqa_core.images.webp_chunks import canvas_size, picture_size
from fiqa_core.wording import counted
from schemas.reasons import Status


class ImageFormat(StrEnum):
    """The admitted formats. JPEG includes MPO (several JPEGs in a row; the first one counts), HEIC every HEIF file that
    does not say how its picture is coded."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIC = "HEIC"


_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Brands of ISO media files that hold pictures; None: of any coding, or of another (JPEG in HEIF).
_BOX_BRANDS: dict[bytes, ImageFormat | None] = {
    **dict.fromkeys((b"avif", b"avis"), ImageFormat.AVIF),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"), ImageFormat.HEIC),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1", b"miaf", b"jpeg")),
}
_MOST_BRAND_BYTES = 4096
# Many texts start with "BM"; the size of the header that follows shows a bitmap.
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def recognise(data: bytes) -> ImageFormat | None:
    """The format by content (never by name), or None for anything that is not admitted."""
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data.startswith(PNG_MAGIC):
        return ImageFormat.PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data.startswith((b"GIF87a", b"GIF89a")):
        return ImageFormat.GIF
    if data.startswith(_TIFF_MAGIC):
        return ImageFormat.TIFF
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return ImageFormat.BMP
    return _recognise_boxes(data) if data[4:8] == b"ftyp" else None


def _recognise_boxes(data: bytes) -> ImageFormat | None:
    """By the brands of an ISO media file: its own and, where this one is general, the compatible ones."""
    end = min(int.from_bytes(data[:4], "big"), len(data), _MOST_BRAND_BYTES)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] not in _BOX_BRANDS:
        return None
    particular = (_BOX_BRANDS[brand] for brand in brands if _BOX_BRANDS.get(brand))
    return next(particular, ImageFormat.HEIC)


def stored_size(image_format: ImageFormat, data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels from a PNG, WebP, GIF or BMP header; None if it is cut off.

    JPEG and TIFF keep theirs behind segments and directories: `jpeg.scan` and the TIFF reader find them.
    """
    if image_format is ImageFormat.PNG and len(data) >= 24 and data[12:16] == b"IHDR":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if image_format is ImageFormat.GIF and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if image_format is ImageFormat.BMP and len(data) >= 26:
        return _bmp_size(data)
    if image_format is ImageFormat.WEBP and len(data) >= 30:
        return _webp_size(data)
    return None


def _bmp_size(data: bytes) -> tuple[int, int]:
    if int.from_bytes(data[14:18], "little") == 12:
        return int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
    # A negative height means that the top row comes first.
    height = int.from_bytes(data[22:26], "little", signed=True)
    return int.from_bytes(data[18:22], "little", signed=True), abs(height)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    return canvas_size(data[20:30]) if data[12:16] == b"VP8X" else picture_size(data[12:30])


def check_whole(image_format: ImageFormat, data: bytes) -> None:
    """Refuse a WebP or TIFF file that ends early.

    Bytes after the end of the image are common and harmless, and pass. The other formats' readers notice.

    Raises:
        ImageRejected: TRUNCATED, without a size.
    """
    if image_format is ImageFormat.WEBP:
        _check_length(image_format, data, 8 + int.from_bytes(data[4:8], "little"))
    elif image_format is ImageFormat.TIFF:
        _check_length(image_format, data, _end_of_directory(data))


def _check_length(image_format: ImageFormat, data: bytes, expected: int) -> None:
    if len(data) < expected:
        raise ImageRejected(
            Status.TRUNCATED,
            f"{image_format}: {counted(len(data), 'byte is', 'bytes are')} there, {expected} at least are needed",
        )


def _end_of_directory(data: bytes) -> int:
    """Where a TIFF's first directory ends; BigTIFF has wider offsets, counts and entries."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
    place, count_size, entry_size = (slice(8, 16), 8, 20) if 43 in data[2:4] else (slice(4, 8), 2, 12)
    entries = int.from_bytes(data[place], order) + count_size
    return entries + entry_size * int.from_bytes(data[entries - count_size : entries], order)
