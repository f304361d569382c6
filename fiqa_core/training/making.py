"""Makes rows of a batch from the images of a sequence: decodes and augments, in a thread or in a worker process.

The random numbers of an image are seeded by its place, so it does not matter which process makes it, or when.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fiqa_core.images.decode import ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, prepare
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.pool_pixels import PoolPixels
from fiqa_core.training.rows import Rows
from fiqa_core.training.sequence import AUGMENT, BatchRows, Share


class RowMaker(Protocol):
    """Fills rows; it is pickled for the worker processes."""

    def make(self, part: BatchRows, rows: Rows) -> None:
        """Fill the rows of a batch."""


@dataclass(frozen=True)
class StoredMaker:
    """Makes rows from stored images: decoded, then augmented. A row whose image cannot be decoded is marked as not
    usable."""

    augment: Augmentation
    order: ChannelOrder
    share: Share

    def make(self, part: BatchRows, rows: Rows) -> None:
        """As `RowMaker.make`."""
        share = self.share
        for row, item in enumerate(part.content, part.first):
            rows.classes[row], rows.weights[row] = item.own, item.weight
            try:
                face = prepare(item.data, channel_order=self.order).pixels
            except ImageRejected:
                rows.usable[row] = False
                continue
            seed = [share.seed, AUGMENT, part.epoch, share.number, part.step * share.batch + row]
            rows.pixels[row] = self.augment(face, np.random.default_rng(seed))
            rows.usable[row] = True


@dataclass(frozen=True)
class PoolMaker:
    """Makes rows from a teacher's pool: augmented. Classes and weights are not set."""

    augment: Augmentation
    pixels: PoolPixels
    share: Share

    def make(self, part: BatchRows, rows: Rows) -> None:
        """As `RowMaker.make`."""
        random = np.random.default_rng([self.share.seed, AUGMENT, part.epoch, self.share.number, part.step])
        for row, face in enumerate(self.pixels.of(part.content), part.first):
            rows.pixels[row] = self.augment(face, random)
        rows.usable[part.first : part.first + part.rows] = True
