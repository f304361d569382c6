"""The driver's look at the first pictures of a plan, where they are scored without being aligned."""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import packaged_detector_path, read_detector
from fiqa_core.alignment.errors import AlignmentError
from fiqa_core.alignment.first_look import LOOK_AT, FirstLook, look_at_first
from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.sample import records_of
from fiqa_core.shards.unit import Unit

_log = logging.getLogger(__name__)
_MOST_RECORDS = 4 * LOOK_AT  # that are read to find so many pictures


def first_look(units: Sequence[Unit], settings: ScoreSettings) -> FirstLook | None:
    """What the first pictures are; None where no detector is installed (extra `align`) or nothing could be read.

    The run itself reports whatever cannot be read.
    """
    if packaged_detector_path() is None:
        return None
    try:
        look = look_at_first(_pictures(units, settings), FaceDetector(read_detector()))
    except (AlignmentError, OSError, ValueError) as error:
        _log.info("no look at the first pictures: %s", error)
        return None
    return look if look.looked else None


def _pictures(units: Sequence[Unit], settings: ScoreSettings) -> Iterator[np.ndarray]:
    limits = ImageLimits(settings.min_side, settings.max_side, settings.max_pixels)
    # Of a sample only what is in it: the warning is about the pictures of this table.
    records = chain.from_iterable(records_of(unit, settings.read, settings.sample) for unit in units)
    for record in islice(records, _MOST_RECORDS):
        if record.data is None or record.fault is not None:
            continue
        try:
            pixels = decode_rgb(record.data, limits).pixels
        except ImageRejected:
            continue
        yield np.ascontiguousarray(pixels[:, :, ::-1]) if settings.channel_order == "bgr-files" else pixels
