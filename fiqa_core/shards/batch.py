"""Images on their way from one shard to another, about a thousand at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import pyarrow as pa

from fiqa_core.shards.output_image import OutputImage

_NONE: Mapping[str, bytes] = {}


class StoredRecords(Protocol):
    """Whole records of a block as their shard has them: a writer of the same format may copy them as they are."""

    def choose(self, places: np.ndarray) -> Self:
        """The records at these places (int64, ascending)."""

    def others(self, place: int) -> Mapping[str, bytes]:
        """Further files of a record beside its image, by suffix in lower case."""


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of the output.

    Attributes:
        rows: a row an image: key, label, number (dense label, int32), quality, tier, weight, and what the index needs.
        position: place of the first in the whole output, from 0.
        data: holds the images. starts, sizes: int64, where each lies in `data`, in bytes.
        others: further files of each image's sample, by suffix; None if none were read.
        samples: the records as they lie in `data`, where their format can copy them; `others` is None then.
    """

    rows: pa.Table
    position: int
    data: memoryview
    starts: np.ndarray
    sizes: np.ndarray
    others: Sequence[Mapping[str, bytes]] | None = None
    samples: StoredRecords | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def slice(self, first: int, count: int) -> "ImageBatch":
        """`count` images from place `first` on; nothing is copied."""
        if first == 0 and count >= len(self):
            return self
        part = slice(first, first + count)
        return replace(
            self,
            rows=self.rows.slice(first, count),
            position=self.position + first,
            starts=self.starts[part],
            sizes=self.sizes[part],
            others=None if self.others is None else self.others[part],
            samples=None if self.samples is None else self.samples.choose(np.arange(len(self))[part]),
        )

    def views(self) -> list[memoryview]:
        """The stored bytes of each image."""
        data = self.data
        return [
            data[start : start + size] for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True)
        ]

    def images(self) -> Iterator[OutputImage]:
        """The images one by one."""
        names = ("key", "label", "number", "quality", "tier", "weight")
        columns = [self.rows[name].to_pylist() for name in names]
        for place, (view, *values) in enumerate(zip(self.views(), *columns, strict=True)):
            key, label, number, quality, tier, weight = values
            yield OutputImage(
                self.position + place, key, label, number, bytes(view), self._others(place), quality, tier, weight
            )

    def _others(self, place: int) -> Mapping[str, bytes]:
        if self.others is not None:
            return self.others[place]
        return _NONE if self.samples is None else self.samples.others(place)


class Cutter:
    """Hands out a stream of batches in other portions."""

    def __init__(self, batches: Iterator[ImageBatch]) -> None:
        self._batches = batches
        self._left: ImageBatch | None = None

    def take(self, count: int) -> Iterator[ImageBatch]:
        """The next `count` images; fewer where the stream ends."""
        while count:
            batch = self._left if self._left is not None else next(self._batches, None)
            if batch is None:
                return
            self._left = batch.slice(count, len(batch) - count) if len(batch) > count else None
            count -= min(count, len(batch))
            yield batch if self._left is None else batch.slice(0, len(batch) - len(self._left))
