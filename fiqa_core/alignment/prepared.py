"""Stored bytes to network input by way of a face detector: decode, find the face, align it."""

from typing import NamedTuple

import numpy as np

from fiqa_core.alignment.aligner import AlignedFace, Aligner
from fiqa_core.images.admission import ImageLimits, ImageRejected
from fiqa_core.images.decode import DecodedImage, decode_rgb
from fiqa_core.images.preprocess import ChannelOrder, Prepared
from fiqa_core.images.resize import to_network_size


class AlignedInput(NamedTuple):
    """What the network is fed, and the faces that were chosen: the first is the one that it is fed."""

    prepared: Prepared
    faces: list[AlignedFace]


def prepare_aligned(
    data: bytes | memoryview, limits: ImageLimits, channel_order: ChannelOrder, aligner: Aligner
) -> AlignedInput:
    """Make network input of the face that is meant in a stored picture. Thread-safe.

    Raises:
        ImageRejected: see `decode_rgb`; NO_FACE or SEVERAL_FACES.
    """
    image = decode_rgb(data, limits)
    picture = image.pixels
    if channel_order is ChannelOrder.BGR_FILES:  # the detector wants true colours too
        picture = np.ascontiguousarray(picture[:, :, ::-1])
    faces = _faces(image, picture, aligner)
    pixels = to_network_size(picture) if faces[0].pixels is None else faces[0].pixels
    return AlignedInput(Prepared(pixels, image.width, image.height), faces)


def _faces(image: DecodedImage, picture: np.ndarray, aligner: Aligner) -> list[AlignedFace]:
    try:
        return aligner.align(picture)
    except ImageRejected as error:  # with the stored size in place of the upright picture's
        raise ImageRejected(error.status, error.message, image.width, image.height) from error
