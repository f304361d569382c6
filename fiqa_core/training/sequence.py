"""The order of images in an epoch: it depends on the seed, the epoch, the process and the place only.

Nothing here imports torch, so that the process that reads starts quickly and stays small.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.dataset_index import DatasetIndex
from fiqa_core.training.errors import TrainingError

ORDER, SHUFFLE, AUGMENT = 1, 2, 3  # independent streams of random numbers from one seed
_WINDOW_BYTES = 2 << 30  # bytes of stored images that wait to be drawn
_PART_IMAGES = 8
_PART_BYTES = 1 << 20  # bytes of stored images that are sent together, without the last one


@dataclass(frozen=True)
class Share:
    """The share of one process: `number` of `count`, with `batch` images per step in each.

    `threads` decode in this process, or `workers` other processes do (0: none); `pinned`: batches are in pinned
    memory, from which a GPU copies without the CPU. None of the three changes a batch.
    """

    seed: int
    batch: int
    number: int = 0
    count: int = 1
    threads: int = 1
    workers: int = 0
    pinned: bool = False


class BatchRows(NamedTuple):
    """Some neighbouring rows of a batch, and what they are made from.

    `first`: row of the batch; `rows`: how many; `stored_bytes`: size of its content.
    """

    epoch: int
    step: int
    first: int
    rows: int
    content: Any
    stored_bytes: int = 0


class StoredImage(NamedTuple):
    """An image as stored, with its class and weight."""

    data: bytes
    own: int
    weight: float


class BatchSequence(Protocol):
    """What batches are made from, in order; it is pickled for the reader."""

    def parts(self, epoch: int, skip: int = 0) -> Iterator[BatchRows]:
        """The parts of an epoch's batches, step after step, without the first `skip` steps."""


@dataclass(frozen=True)
class StoredSequence:
    """The images that an index keeps, read from their shards in a new order every epoch; see `data.ShardBatches`.

    A part's `content` is a list of StoredImage.
    """

    units: tuple[Unit, ...]
    index: DatasetIndex
    read: ReadSettings
    share: Share
    shuffle: int
    steps_per_epoch: int

    def parts(self, epoch: int, skip: int = 0) -> Iterator[BatchRows]:
        """As `BatchSequence.parts`; the records of skipped batches are read again."""
        batch, chosen = self.share.batch, self._drawn(epoch)
        for _ in range(skip * batch):
            next(chosen)
        for step in range(skip, self.steps_per_epoch):
            first, held, content = 0, 0, list[StoredImage]()
            for row in range(batch):
                content.append(next(chosen))
                held += len(content[-1].data)
                if len(content) == _PART_IMAGES or held > _PART_BYTES or row == batch - 1:
                    yield BatchRows(epoch, step, first, len(content), content, held)
                    first, held, content = row + 1, 0, []

    def _drawn(self, number: int) -> Iterator[StoredImage]:
        """Stored images, drawn at random from a window; endless.

        The window is emptied before the share begins again: each image comes once before any comes twice. With large
        images it holds fewer than `shuffle`, so memory is bounded.
        """
        random = np.random.default_rng([self.share.seed, SHUFFLE, number, self.share.number])
        while True:
            window: list[StoredImage] = []
            held = 0
            for item in self._once(number):
                held += len(item.data)
                if not window or (len(window) < self.shuffle and held <= _WINDOW_BYTES):
                    window.append(item)
                    continue
                place = int(random.integers(len(window)))
                held -= len(window[place].data)
                yield window[place]
                window[place] = item
                while held > _WINDOW_BYTES and len(window) > 1:
                    drawn = window.pop(int(random.integers(len(window))))
                    held -= len(drawn.data)
                    yield drawn
            for place in random.permutation(len(window)):
                yield window[int(place)]

    def _once(self, number: int) -> Iterator[StoredImage]:
        share = self.share
        order = np.random.default_rng([share.seed, ORDER, number]).permutation(len(self.units))
        by_record = len(self.units) < share.count
        mine = order if by_record else order[share.number :: share.count]
        count = 0
        for place in mine:
            for item in self._of_unit(self.units[int(place)]):
                if not by_record or count % share.count == share.number:
                    yield item
                count += 1
        if not count:
            raise TrainingError(f"process {share.number}: its shards hold no image that is kept; use fewer processes")

    def _of_unit(self, unit: Unit) -> Iterator[StoredImage]:
        known = self.index.of_shard(unit.shard)
        for record in CONTAINERS[unit.container].read(unit, self.read):
            found = known.find(record.index)
            if record.data is not None and found is not None:
                yield StoredImage(record.data, *found)


@dataclass(frozen=True)
class PoolSequence:
    """Rows of a teacher's pool: each once an epoch, clean images repeated up to `clean_count`.

    A part is a whole batch; its `content` is the rows (int64) of the pool.
    """

    others: np.ndarray
    clean: np.ndarray
    clean_count: int
    share: Share
    steps_per_epoch: int

    def parts(self, epoch: int, skip: int = 0) -> Iterator[BatchRows]:
        """As `BatchSequence.parts`."""
        places, batch = self.places(epoch), self.share.batch
        for step in range(skip, self.steps_per_epoch):
            yield BatchRows(epoch, step, 0, batch, places[step * batch : (step + 1) * batch])

    def places(self, epoch: int) -> np.ndarray:
        """The rows of the pool that this process sees in an epoch, in order, int64."""
        random = np.random.default_rng([self.share.seed, ORDER, epoch])
        clean = np.resize(random.permutation(self.clean), self.clean_count)
        rows = random.permutation(np.concatenate([self.others, clean]))
        return np.asarray(rows[self.share.number :: self.share.count])


def kept_units(units: Sequence[Unit], index: DatasetIndex) -> tuple[Unit, ...]:
    """The units with kept images: otherwise a process could get only units without any."""
    return tuple(unit for unit in units if index.keeps_of(unit))
