"""RecordIO as it is written: one set `train.rec`, `train.idx`, `property`, as InsightFace's loader takes it."""

import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np
from PIL import Image

from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.output import OutputRefusedError, PackedRecords, SetOutput, SetWriter
from fiqa_core.shards.recordio.format import IMAGE_HEADER, PART_HEADER
from fiqa_core.shards.recordio.pack import pack_images
from fiqa_core.shards.recordio.writer import MAX_EXACT, InsightFaceWriter
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_USUAL = (112, 112)
_SIZES_SHOWN = 3
_TO_IMAGE = PART_HEADER.size + IMAGE_HEADER.size


class InsightFaceSet(SetOutput):
    """The layout `insightface` has header and identity records, `plain` has the images alone.

    `most_exact`: numbers that float32 tells apart; another one is for tests.
    """

    name = "train"
    files = ("train.rec", "property", "train.idx")
    layouts = ("insightface", "plain")

    def __init__(self, most_exact: int = MAX_EXACT) -> None:
        self._most = most_exact

    def refuse(self, labels: Mapping[str, int], unlabelled: int, dense: bool) -> None:  # noqa: ARG002
        """Every image needs a label."""
        if unlabelled:
            images = sum(labels.values()) + unlabelled
            raise OutputRefusedError(
                f"{unlabelled} of {counted(images, 'kept image has', 'kept images have')} no label, which "
                "InsightFace's RecordIO needs. Drop them (--drop-unlabelled), write another format, or score the "
                "set again with --label-field."
            )

    def layout(self, wanted: str, images: int, identities: int) -> str:
        """`insightface` up to 2^24 records, which its float32 numbers tell apart; more only `plain`."""
        most = self._most
        if identities > most:
            raise OutputRefusedError(
                f"{identities} identities: RecordIO's labels are float32, exact up to {most}. Keep fewer."
            )
        if wanted == "plain" or images + identities + 1 <= most:
            return wanted or "insightface"
        counts = (
            f"{images} images and {identities} identities: InsightFace's header and identity records count in "
            f"float32, exact up to {most}"
        )
        if wanted:
            raise OutputRefusedError(
                f"{counts}; beyond it loaders lose an image or read a record that is none. Keep fewer, or write "
                "--recordio-layout plain."
            )
        _log.warning(
            "%s. The set is written without them (--recordio-layout plain): loaders take all keys then.", counts
        )
        return "plain"

    def pack(self, batch: ImageBatch) -> PackedRecords:
        """Records with their labels; keys follow when they are written."""
        numbers = batch.rows["number"].to_numpy().astype(np.int64)
        return PackedRecords(*pack_images(batch.data, batch.starts, batch.sizes, numbers))

    def begin(self, streams: Sequence[IO[bytes]], layout: str) -> SetWriter:
        """Begin a set."""
        return _SetWriter(streams, layout)


class _SetWriter:
    """Writes records, and finds the most common image size for `property`."""

    def __init__(self, streams: Sequence[IO[bytes]], layout: str) -> None:
        rec, properties, idx = streams
        self._writer = InsightFaceWriter(rec, idx, properties, plain=layout == "plain")
        self._writer.__enter__()
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._last = -1

    def add(self, packed: PackedRecords, numbers: np.ndarray) -> Sequence[str]:
        """Write records; returns their keys."""
        # One image an identity says enough of the usual size, and costs next to nothing.
        for first in np.flatnonzero(np.diff(numbers, prepend=self._last)).tolist():
            begin = int(packed.offsets[first]) + _TO_IMAGE
            # Of a record in several parts, the first part has the image's header.
            self._sizes[_size(packed.records[begin : packed.offsets[first + 1]].tobytes())] += 1
        self._last = int(numbers[-1])
        return list(map(str, self._writer.add_packed(packed.records, packed.offsets, numbers).tolist()))

    def close(self) -> None:
        """Write the identity records, the header record and `property`."""
        self._writer.width, self._writer.height = _most_common(self._sizes)
        self._writer.__exit__(None, None, None)


def _most_common(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    if len(sizes) > 1:
        found = ", ".join(f"{w}x{h}" for (w, h), _ in sizes.most_common(_SIZES_SHOWN))
        _log.warning(
            "the images are of several sizes (%s ...); `property` names the first. Loaders expect one.",
            found,
        )
    return sizes.most_common(1)[0][0] if sizes else _USUAL


def _size(image: bytes) -> tuple[int, int]:
    """(width, height) in pixels, from the header; 112x112 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return _USUAL
