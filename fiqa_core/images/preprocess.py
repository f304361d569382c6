"""Stored bytes to network input: decode, resize, channel order."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fiqa_core.images.admission import ImageLimits, ImageRejected, check_size, decoder_failure
from fiqa_core.images.decode import decode_rgb
from fiqa_core.images.pillow_formats import rgb_pixels
from fiqa_core.images.resize import to_network_size


class ChannelOrder(StrEnum):
    """What a file's first channel holds.

    RGB: red, as in any ordinary file.
    BGR_FILES: blue. The original's benchmark extraction scripts write files with red and blue exchanged, and
        its default `--color_channel BGR` reads them with OpenCV and feeds them as read; exchanging them back
        here gives the network true red first, too.
    """

    RGB = "rgb"
    BGR_FILES = "bgr-files"


class Prepared(NamedTuple):
    """`pixels`: uint8 (112, 112, 3), C-contiguous, red first; `width`, `height`: the stored size in pixels."""

    pixels: np.ndarray
    width: int
    height: int


DEFAULT_LIMITS = ImageLimits()


def prepare(
    data: bytes | memoryview,
    limits: ImageLimits = DEFAULT_LIMITS,
    channel_order: ChannelOrder = ChannelOrder.RGB,
) -> Prepared:
    """Make network input of one stored image. Thread-safe.

    Raises:
        ImageRejected: see `decode_rgb`.
    """
    image = decode_rgb(data, limits)
    return Prepared(_network_input(image.pixels, channel_order), image.width, image.height)


def from_image(
    image: "str | os.PathLike[str] | bytes | Image.Image | np.ndarray",
    limits: ImageLimits = DEFAULT_LIMITS,
    channel_order: ChannelOrder = ChannelOrder.RGB,
    align: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Network input, uint8 (112, 112, 3), of a path, stored bytes, a PIL image, or uint8 (H, W, 3) RGB.

    `align`: from the picture, uint8 (H, W, 3) RGB, to the face in it; such as `Aligner.crop`.

    Raises:
        ImageRejected: the image cannot be used; the message names the path, where there is one (also of an
            image that Pillow opened).
        OSError: the file cannot be read.
        TypeError: something else was given.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        with _naming(str(path)):
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise OSError(errno.EINVAL, "a device, pipe or socket; expected a regular file", str(path))
            return from_image(path.read_bytes(), limits, channel_order, align)
    if isinstance(image, bytes | bytearray | memoryview):
        return _fed(decode_rgb(bytes(image), limits).pixels, channel_order, align)
    if isinstance(image, Image.Image):
        with _naming(str(getattr(image, "filename", ""))):
            return _fed(_of_pillow(image, limits), channel_order, align)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        check_size(image.shape[1], image.shape[0], limits)
        return _fed(image, channel_order, align)
    found = f"an array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else repr(type(image))
    raise TypeError(f"expected a path, bytes, a PIL image, or a uint8 array (H, W, 3) in RGB order; got {found}")


def is_one_image(images: object) -> bool:
    """Whether this is a single image, as `from_image` takes it, where a collection of images was expected."""
    return isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image) or (
        isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype.kind not in "OUS"
    )


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Put the place of the image, if it has one, in front of the reason for its rejection."""
    try:
        yield
    except ImageRejected as error:
        if not place:
            raise
        raise ImageRejected(error.status, f"{place}: {error.message}", error.width, error.height) from error


def _fed(
    pixels: np.ndarray, channel_order: ChannelOrder, align: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    if align is None:
        return _network_input(pixels, channel_order)
    if channel_order is ChannelOrder.BGR_FILES:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    return to_network_size(align(pixels))


def _network_input(pixels: np.ndarray, channel_order: ChannelOrder) -> np.ndarray:
    resized = to_network_size(pixels)
    if channel_order is ChannelOrder.BGR_FILES:
        resized = np.ascontiguousarray(resized[:, :, ::-1])
    return resized


def _of_pillow(image: Image.Image, limits: ImageLimits) -> np.ndarray:
    check_size(*image.size, limits)
    try:
        return rgb_pixels(image)
    except ImageRejected:
        raise
    except Exception as error:  # a damaged file that Pillow opened, and decodes only now
        raise decoder_failure(image.format or "the image", error, *image.size) from error
