"""Batches of training images: a stream over shards, or rows of a teacher's pool.

A batch is a function of the seed, the epoch, the process and its place in the epoch, never of threads or of time, so
that a run that goes on from a checkpoint sees what an undisturbed one would have seen.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fiqa_core.images.decode import ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, prepare
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.dataset_index import DatasetIndex
from fiqa_core.training.distill import Targets
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.in_flight import InFlight
from fiqa_core.training.pool import Pool
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_WINDOW_BYTES = 2 << 30  # of stored images that wait to be drawn
_ORDER, _SHUFFLE, _AUGMENT = 1, 2, 3  # streams of random numbers of one seed


class Batch(NamedTuple):
    """Images and what is known of them.

    `images`: float32 (B, 3, 112, 112) RGB in [-1, 1]. `classes`: int64 (B,). `weights`: float32 (B,). With a teacher,
    `embeddings`: float32 (B, E), unit length, and `certainty`: float32 (B,).
    """

    images: Tensor
    classes: Tensor
    weights: Tensor
    embeddings: Tensor | None = None
    certainty: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Share:
    """Which part of the work is whose: process `number` of `count`, `batch` images a step in each."""

    seed: int
    batch: int
    number: int = 0
    count: int = 1
    threads: int = 1


class Batches(Protocol):
    """What the loop needs of its data."""

    class_count: int
    teacher_dim: int
    steps_per_epoch: int

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (from 0), `steps_per_epoch` of them less the first `skip`."""


class ShardBatches:
    """Batches of the images that an index keeps, read from their shards in a new order every epoch.

    Shards are dealt out to the processes in random order and read once; a window of records is drawn from at random.
    Where processes are more than units, each reads all of them and takes every n-th record. A process that comes to
    the end of its share early begins it again, so that all make the same number of steps. An image that cannot be
    decoded is passed over (scoring and filtering name such images; the index only knows that the record is there).
    """

    teacher_dim = 0

    def __init__(
        self,
        units: Sequence[Unit],
        index: DatasetIndex,
        read: ReadSettings,
        augment: Augmentation,
        share: Share,
        shuffle: int,
        channel_order: str = "rgb",
    ) -> None:
        # A unit of which nothing is kept could be all that a process gets.
        self._units = [unit for unit in units if index.keeps_of(unit)]
        self._index, self._read, self._augment = index, read, augment
        self._share, self._shuffle, self._order = share, max(1, shuffle), ChannelOrder(channel_order)
        self.class_count = len(index.labels)
        self.steps_per_epoch = index.kept // (share.batch * share.count)
        self.passed_over = 0
        if self.steps_per_epoch < 1:
            raise TrainingError(
                f"{counted(index.kept, 'image')} to train on: fewer than one step takes "
                f"({counted(share.batch, 'image')} in each of "
                f"{counted(share.count, 'process', 'processes')}); use a smaller batch"
            )

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As `Batches.epoch`; the records of skipped batches are read again, but not decoded."""
        share = self._share
        chosen = self._drawn(number)
        for _ in range(skip * share.batch):
            next(chosen)
        try:
            yield from self._made(chosen, number, skip)
        finally:  # also where the run ends inside an epoch
            if self.passed_over:
                _log.warning(
                    "epoch %d: %s could not be decoded, passed over", number, counted(self.passed_over, "image")
                )
            self.passed_over = 0

    def _made(self, chosen: Iterator[tuple[bytes, int, float]], epoch: int, skip: int) -> Iterator[Batch]:
        share = self._share
        with ThreadPoolExecutor(max(1, share.threads), "decode") as pool:
            pending: deque[list[Future[tuple[np.ndarray, int, float] | None]]] = deque()
            stored = InFlight()
            for step in range(skip, self.steps_per_epoch + 2):
                if step < self.steps_per_epoch:
                    pending.append([])
                    for place in range(step * share.batch, (step + 1) * share.batch):
                        item = next(chosen)
                        stored.make_room(len(item[0]))
                        seed = [share.seed, _AUGMENT, epoch, share.number, place]
                        pending[-1].append(pool.submit(self._image, *item, seed))
                        stored.add(pending[-1][-1], len(item[0]))
                if len(pending) > 2 or (pending and step >= self.steps_per_epoch):
                    yield self._batch(pending.popleft())

    def _drawn(self, number: int) -> Iterator[tuple[bytes, int, float]]:
        """Stored images with class and weight, through a window that is drawn from at random; without end.

        The window runs empty before the share begins again: each image comes once before any comes twice. Where images
        are large it holds fewer than `shuffle`: memory is bounded.
        """
        random = np.random.default_rng([self._share.seed, _SHUFFLE, number, self._share.number])
        while True:
            window: list[tuple[bytes, int, float]] = []
            held = 0
            for item in self._once(number):
                held += len(item[0])
                if not window or (len(window) < self._shuffle and held <= _WINDOW_BYTES):
                    window.append(item)
                    continue
                place = int(random.integers(len(window)))
                held -= len(window[place][0])
                yield window[place]
                window[place] = item
                while held > _WINDOW_BYTES and len(window) > 1:
                    drawn = window.pop(int(random.integers(len(window))))
                    held -= len(drawn[0])
                    yield drawn
            for place in random.permutation(len(window)):
                yield window[int(place)]

    def _once(self, number: int) -> Iterator[tuple[bytes, int, float]]:
        share = self._share
        order = np.random.default_rng([share.seed, _ORDER, number]).permutation(len(self._units))
        by_record = len(self._units) < share.count
        mine = order if by_record else order[share.number :: share.count]
        count = 0
        for place in mine:
            for data, own, weight in self._of_unit(self._units[int(place)]):
                if not by_record or count % share.count == share.number:
                    yield data, own, weight
                count += 1
        if not count:
            raise TrainingError(f"process {share.number}: its shards hold no image that is kept; use fewer processes")

    def _of_unit(self, unit: Unit) -> Iterator[tuple[bytes, int, float]]:
        known = self._index.of_shard(unit.shard)
        for record in CONTAINERS[unit.container].read(unit, self._read):
            found = known.find(record.index)
            if record.data is not None and found is not None:
                yield record.data, *found

    def _image(self, data: bytes, own: int, weight: float, seed: Sequence[int]) -> tuple[np.ndarray, int, float] | None:
        try:
            face = prepare(data, channel_order=self._order).pixels
        except ImageRejected:
            return None
        return self._augment(face, np.random.default_rng(seed)), own, weight

    def _batch(self, pending: list[Future[tuple[np.ndarray, int, float] | None]]) -> Batch:
        found = [future.result() for future in pending]
        usable = [item for item in found if item is not None]
        self.passed_over += len(found) - len(usable)
        if not usable:
            raise TrainingError(
                f"none of the {len(found)} images of a batch can be decoded; score the dataset to see why"
            )
        # Every process has equal batches, whatever could not be decoded: the last image again, with no weight.
        spare = [(usable[-1][0], usable[-1][1], 0.0)] * (len(found) - len(usable))
        pixels, classes, weights = zip(*usable, *spare, strict=True)
        return Batch(_as_input(np.stack(pixels)), torch.tensor(classes), torch.tensor(weights, dtype=torch.float32))


class PoolBatches:
    """Batches of a teacher's pool: each row once an epoch, clean images repeated up to their share.

    `weights`: float32 (M,) of the pool's rows; None: each 1.
    """

    def __init__(
        self,
        pool: Pool,
        targets: Targets,
        augment: Augmentation,
        share: Share,
        clean_share: float,
        weights: np.ndarray | None = None,
    ) -> None:
        if not 0 <= clean_share < 1:
            raise TrainingError(f"teacher.clean_share is {clean_share}; expected 0 <= share < 1")
        self._pool, self._targets, self._augment, self._share = pool, targets, augment, share
        self._weights = np.ones(len(targets.classes), np.float32) if weights is None else weights
        self._clean, others = np.flatnonzero(targets.clean), np.flatnonzero(~targets.clean)
        self._others = others
        wanted = round(len(others) * clean_share / (1 - clean_share)) if len(others) else len(self._clean)
        self._clean_count = max(len(self._clean), wanted)
        self.class_count, self.teacher_dim = targets.class_count, targets.embeddings.shape[1]
        self.steps_per_epoch = (len(others) + self._clean_count) // (share.batch * share.count)
        if self.steps_per_epoch < 1:
            raise TrainingError(
                f"the pool has {counted(len(targets.classes), 'image')}: fewer than one step takes "
                f"({share.batch} in each of "
                f"{counted(share.count, 'process', 'processes')}); use a smaller batch"
            )

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As `Batches.epoch`."""
        share = self._share
        random = np.random.default_rng([share.seed, _ORDER, number])
        clean = np.resize(random.permutation(self._clean), self._clean_count)
        rows = random.permutation(np.concatenate([self._others, clean]))
        mine = rows[share.number :: share.count]
        for step in range(skip, self.steps_per_epoch):
            places = mine[step * share.batch : (step + 1) * share.batch]
            generator = np.random.default_rng([share.seed, _AUGMENT, number, share.number, step])
            pixels = np.stack([self._augment(face, generator) for face in self._pool.pixels(places)])
            yield Batch(
                _as_input(pixels),
                torch.from_numpy(self._targets.classes[places]),
                torch.from_numpy(self._weights[places]),
                torch.from_numpy(self._targets.embeddings[places]),
                torch.from_numpy(self._targets.certainty[places]),
            )


def _as_input(pixels: np.ndarray) -> Tensor:
    """As the scorer makes network input of pixels."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5).contiguous()
