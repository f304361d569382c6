"""PNG, WebP, GIF, BMP and TIFF by Pillow, and what each kind of pixel means as 8-bit RGB.

Pillow gets a copy of the file with the pixels of the first picture only, so other parts of the file can neither make
decoding fail nor take memory and time.

The readers are called by name. `Image.open` would try all formats that Pillow knows and compare the size with
`Image.MAX_IMAGE_PIXELS`, which is global to the process; the limits here are the caller's, and are checked before a
reader allocates memory.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from fiqa_core.images.admission import ImageLimits, ImageRejected, check_size, decoder_failure
from fiqa_core.images.bmp_rle import uncompressed
from fiqa_core.images.gif_blocks import first_picture as first_picture_of_gif
from fiqa_core.images.headers import ImageFormat, check_whole, stored_size
from fiqa_core.images.orientation import exif_orientation, upright
from fiqa_core.images.png_chunks import read_png
from fiqa_core.images.tiff_directory import first_page
from fiqa_core.images.webp_chunks import first_picture as first_picture_of_webp
from schemas.reasons import Status

_READERS: dict[ImageFormat, Callable[[io.BytesIO], ImageFile]] = {
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
}
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}
_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_TAG_WIDTH, _TAG_HEIGHT, _TAG_BITS = 256, 257, 258
_TAG_TILE_WIDTH, _TAG_TILE_HEIGHT = 322, 323
# (offsets, byte counts) of strips, of tiles.
_TAG_PARTS = ((273, 279), (324, 325))


def decode_with_pillow(image_format: ImageFormat, data: bytes, limits: ImageLimits) -> tuple[np.ndarray, int, int]:
    """Upright pixels, uint8 (H, W, 3) RGB, and the stored width and height.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE or TOO_SMALL.
    """
    size = stored_size(image_format, data)
    try:
        # First, because a damaged header has a wrong size.
        check_whole(image_format, data)
        png = read_png(data) if image_format is ImageFormat.PNG else None
        if size is not None:
            check_size(*size, limits)
        image_file, orientation = _pixels_alone(image_format, data, size) if png is None else png.alone()
        with _READERS[image_format](io.BytesIO(image_file)) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                size = _checked_tiff(image, data, limits)
            # A GIF's first frame may be larger than its screen, and Pillow then goes by the frame.
            check_size(*image.size, limits)
            image.load()
            if png is not None and (png.is_interlaced() or not np.asarray(image)[-1].any()):
                png.check_rows()
            return upright(rgb_pixels(image), orientation), *(size or image.size)
    except ImageRejected as error:
        width, height = size or (error.width, error.height)
        raise ImageRejected(error.status, error.message, width, height) from error
    # On damaged files Pillow's readers raise nearly any exception (OSError, SyntaxError, ValueError,
    # struct.error, KeyError, OverflowError, zlib.error, ...); each concerns this one image.
    except Exception as error:
        raise decoder_failure(image_format, error, *(size or (None, None))) from error


def _pixels_alone(image_format: ImageFormat, data: bytes, size: tuple[int, int] | None) -> tuple[bytes, int]:
    """(a file of the first picture without anything around it, its orientation 1..8), for all formats but PNG."""
    if image_format is ImageFormat.WEBP:
        return first_picture_of_webp(data)
    if image_format is ImageFormat.TIFF:
        return first_page(data)
    if image_format is ImageFormat.GIF:
        return first_picture_of_gif(data), 1
    return (uncompressed(data, *size) if size is not None else data), 1


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """Pixels of a Pillow image, upright, as uint8 (H, W, 3) RGB; may be read-only.

    Raises:
        ImageRejected: UNSUPPORTED, where 8-bit RGB has no defined meaning (32-bit and float samples, Lab).
    """
    image.load()
    if image.mode in _SIXTEEN_BITS:
        high = (np.asarray(image).astype(np.uint16, copy=False) >> 8).astype(np.uint8)
        pixels = np.repeat(high[:, :, np.newaxis], 3, axis=2)
    elif image.mode in _EIGHT_BITS:
        pixels = np.asarray(_opaque(image).convert("RGB"))
    else:
        raise ImageRejected(
            Status.UNSUPPORTED, f"pixels of Pillow mode {image.mode!r} have no defined 8-bit RGB value", *image.size
        )
    # For images that a caller has opened; in stored ones it was removed before.
    exif = image.info.get("exif")
    return upright(pixels, exif_orientation(exif)) if isinstance(exif, bytes) else pixels


def _opaque(image: Image.Image) -> Image.Image:
    """The image without its transparent colour, which counts as an ordinary colour here."""
    if "transparency" not in image.info:
        return image
    opaque = image.copy()
    del opaque.info["transparency"]
    return opaque


def _checked_tiff(image: TiffImagePlugin.TiffImageFile, data: bytes, limits: ImageLimits) -> tuple[int, int]:
    tags = image.tag_v2
    width, height = int(tags[_TAG_WIDTH]), int(tags[_TAG_HEIGHT])
    check_size(width, height, limits)
    if int(tags.get(_TAG_TILE_WIDTH, 0)) * int(tags.get(_TAG_TILE_HEIGHT, 0)) > limits.max_pixels:
        raise ImageRejected(
            Status.TOO_LARGE, f"TIFF: one of its tiles has more than {limits.max_pixels} pixels", width, height
        )
    if image.mode in _SIXTEEN_BITS and set(tags.get(_TAG_BITS, (16,))) != {16}:
        raise ImageRejected(
            Status.UNSUPPORTED, f"TIFF: {tags.get(_TAG_BITS)} bits a sample are not decoded here", width, height
        )
    for offsets, counts in _TAG_PARTS:
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > len(data):
            raise ImageRejected(Status.TRUNCATED, "TIFF: the file ends before its pixels do", width, height)
    return width, height
