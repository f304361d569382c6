"""Stored bytes to the 112x112 RGB pixels that the network sees."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fiqa_core.images.decode import ImageLimits, decode_rgb
from fiqa_core.images.resize import to_network_size


class ChannelOrder(StrEnum):
    """What the files hold. The network sees RGB in either case.

    `rgb`: ordinary files. `bgr-files`: the benchmark sets made by the original extraction scripts, whose
    files were written with red and blue swapped; they are swapped back.
    """

    RGB = "rgb"
    BGR_FILES = "bgr-files"


class Prepared(NamedTuple):
    """`pixels` uint8 RGB (112, 112, 3), contiguous; `width`, `height` of the stored image."""

    pixels: np.ndarray
    width: int
    height: int


def prepare(data: bytes, limits: ImageLimits, channel_order: ChannelOrder = ChannelOrder.RGB) -> Prepared:
    """Decode, resize, and put the channels in order.

    Raises:
        ImageRejected: the image cannot be used.
    """
    image = decode_rgb(data, limits)
    pixels = to_network_size(image.pixels)
    if channel_order is ChannelOrder.BGR_FILES:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    return Prepared(pixels, image.width, image.height)


def from_image(image: str | os.PathLike[str] | bytes | Image.Image | np.ndarray) -> np.ndarray:
    """uint8 RGB (112, 112, 3) of a path, encoded bytes, a PIL image, or a uint8 RGB array (H, W, 3).

    Raises:
        ImageRejected: the file or bytes cannot be used.
        TypeError, ValueError: an array of another type or shape.
    """
    if isinstance(image, Image.Image):
        return to_network_size(np.ascontiguousarray(np.asarray(image.convert("RGB"))))
    if isinstance(image, np.ndarray):
        return to_network_size(_checked(image))
    if isinstance(image, bytes):
        return prepare(image, ImageLimits()).pixels
    if isinstance(image, str | os.PathLike):
        return prepare(Path(image).read_bytes(), ImageLimits()).pixels
    raise TypeError(f"expected a path, bytes, PIL image or uint8 RGB array, found {type(image).__name__}")


def _checked(array: np.ndarray) -> np.ndarray[Any, Any]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected uint8 RGB (H, W, 3), found {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
