"""Batches of training images: a stream over shards, or rows of a teacher's pool.

A batch depends on the seed, the epoch, the process and its place in the epoch, and not on threads, worker processes or
time. So a run that continues from a checkpoint sees the same batches as an undisturbed run.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fiqa_core.images.preprocess import ChannelOrder
from fiqa_core.in_flight import InFlight
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.dataset_index import DatasetIndex
from fiqa_core.training.distill import Targets
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.feed import Feed
from fiqa_core.training.making import PoolMaker, StoredMaker
from fiqa_core.training.pool import Pool
from fiqa_core.training.pool_pixels import PoolPixels
from fiqa_core.training.rows import Rows
from fiqa_core.training.sequence import PoolSequence, Share, StoredSequence, kept_units
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_BATCHES_AHEAD = 2  # that threads decode while one is trained on


class Batch(NamedTuple):
    """Images with their classes, weights and targets.

    `images`: uint8 (B, 112, 112, 3) RGB, or float16 features of them (fiqa_core/training/stem_features.py);
    `network_input` makes the network's input of them, on their device. `classes`: int64 (B,). `weights`: float32 (B,).
    With a teacher, `embeddings`: float32 (B, E), unit length, `certainty`: float32 (B,), and `natural`: bool (B,),
    whether the image is not degraded.
    """

    images: Tensor
    classes: Tensor
    weights: Tensor
    embeddings: Tensor | None = None
    certainty: Tensor | None = None
    natural: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from pinned memory to a GPU, nothing waits for the copy."""
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))  # type: ignore[arg-type]

    def pinned(self) -> "Batch":
        """The batch in pinned memory, from which a GPU copies without the CPU."""
        return Batch(*(None if part is None else part.pin_memory() for part in self))  # type: ignore[arg-type]


class Batches(Protocol):
    """What the loop needs of its data."""

    class_count: int
    teacher_dim: int
    steps_per_epoch: int
    mean_certainty: float | None  # of all targets, where a teacher gives them

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (from 0): `steps_per_epoch`, without the first `skip`."""

    def close(self) -> None:
        """End the worker processes, if there are any."""


class ShardBatches:
    """Batches of the images that an index keeps, read from their shards in a new order every epoch.

    Shards are distributed to the processes in random order and read once; records are drawn at random from a window.
    If there are more processes than units, each process reads all units and takes every n-th record. A process that
    reaches the end of its share early begins it again, so that all make the same number of steps. An image that cannot
    be decoded is skipped (scoring and filtering name such images; the index only knows that the record exists).
    """

    teacher_dim = 0
    mean_certainty: float | None = None

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
        self._share = share
        self.class_count = len(index.labels)
        self.steps_per_epoch = index.kept // (share.batch * share.count)
        self.passed_over = 0
        if self.steps_per_epoch < 1:
            raise TrainingError(
                f"{counted(index.kept, 'image')} to train on: fewer than one step takes "
                f"({counted(share.batch, 'image')} in each of "
                f"{counted(share.count, 'process', 'processes')}); use a smaller batch"
            )
        self._sequence = StoredSequence(
            kept_units(units, index), index, read, share, max(1, shuffle), self.steps_per_epoch
        )
        self._maker = StoredMaker(augment, ChannelOrder(channel_order), share)
        self._feed = Feed(self._sequence, self._maker, share.batch, self.steps_per_epoch, share.workers)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As `Batches.epoch`; the records of skipped batches are read again, but not decoded."""
        try:
            if self._share.workers:
                yield from self._feed.batches(number, skip, lambda rows: self._batch(rows, is_shared=True))
            else:
                for rows in self._made_here(number, skip):
                    yield self._batch(rows, is_shared=False)
        finally:  # also if the run ends inside an epoch
            if self.passed_over:
                _log.warning(
                    "epoch %d: %s could not be decoded, passed over", number, counted(self.passed_over, "image")
                )
            self.passed_over = 0

    def close(self) -> None:
        """As `Batches.close`."""
        self._feed.close()

    @property
    def worker_ids(self) -> list[int]:
        """Process ids of the workers that are running, the one that reads first."""
        return self._feed.process_ids

    def _made_here(self, epoch: int, skip: int) -> Iterator[Rows]:
        with ThreadPoolExecutor(max(1, self._share.threads), "decode") as pool:
            pending: deque[tuple[Rows, list[Future[None]]]] = deque()
            stored: InFlight[None] = InFlight()
            for _, parts in groupby(self._sequence.parts(epoch, skip), attrgetter("step")):
                rows, made = Rows.empty(self._share.batch), list[Future[None]]()
                for part in parts:
                    stored.make_room(part.stored_bytes)
                    made.append(pool.submit(self._maker.make, part, rows))
                    stored.add(made[-1], part.stored_bytes)
                pending.append((rows, made))
                if len(pending) > _BATCHES_AHEAD:
                    yield _finished(*pending.popleft())
            while pending:
                yield _finished(*pending.popleft())

    def _batch(self, rows: Rows, is_shared: bool) -> Batch:
        """A batch made from rows; it copies rows in shared memory."""
        usable = np.flatnonzero(rows.usable)
        lost = len(rows.usable) - len(usable)
        self.passed_over += lost
        if not len(usable):
            raise TrainingError(f"none of the {lost} images of a batch can be decoded; score the dataset to see why")
        images, classes, weights = map(torch.from_numpy, (rows.pixels, rows.classes, rows.weights))
        if lost:
            # All processes have batches of one size, even if images could not be decoded: the last image again, with
            # weight 0.
            places = torch.from_numpy(np.append(usable, np.repeat(usable[-1], lost)))
            images, classes, weights = images[places], classes[places], weights[places]
            weights[len(usable) :] = 0
        batch = Batch(images, classes, weights)
        if self._share.pinned:
            return batch.pinned()
        return Batch(images.clone(), classes.clone(), weights.clone()) if is_shared and not lost else batch


def _finished(rows: Rows, made: Sequence[Future[None]]) -> Rows:
    for future in made:
        future.result()
    return rows


class PoolBatches:
    """Batches of a teacher's pool: each row once an epoch, clean images repeated up to their share.

    `weights`: float32 (M,) of the pool's rows; None: each 1. `features`: what batches have in place of the pixels.
    """

    def __init__(
        self,
        pool: Pool,
        targets: Targets,
        augment: Augmentation,
        share: Share,
        clean_share: float,
        weights: np.ndarray | None = None,
        features: PoolPixels | None = None,
    ) -> None:
        if not 0 <= clean_share < 1:
            raise TrainingError(f"teacher.clean_share is {clean_share}; expected 0 <= share < 1")
        self._targets, self._share = targets, share
        self._weights = np.ones(len(targets.classes), np.float32) if weights is None else weights
        clean, others = np.flatnonzero(targets.clean), np.flatnonzero(~targets.clean)
        wanted = round(len(others) * clean_share / (1 - clean_share)) if len(others) else len(clean)
        clean_count = max(len(clean), wanted)
        self.class_count, self.teacher_dim = targets.class_count, targets.embeddings.shape[1]
        self.mean_certainty: float | None = float(targets.certainty.mean())
        self.steps_per_epoch = (len(others) + clean_count) // (share.batch * share.count)
        if self.steps_per_epoch < 1:
            raise TrainingError(
                f"the pool has {counted(len(targets.classes), 'image')}: fewer than one step takes "
                f"({share.batch} in each of "
                f"{counted(share.count, 'process', 'processes')}); use a smaller batch"
            )
        self._sequence = PoolSequence(others, clean, clean_count, share, self.steps_per_epoch)
        self._features = features
        self._maker = PoolMaker(augment, pool.images, share)
        self._feed = Feed(self._sequence, self._maker, share.batch, self.steps_per_epoch, share.workers)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As `Batches.epoch`."""
        places, size = self._sequence.places(number), self._share.batch
        if self._features is not None:
            for step in range(skip, self.steps_per_epoch):
                rows = places[step * size : (step + 1) * size]
                yield self._batch(self._features.of(rows), rows)
            return
        for step, images in enumerate(self._images(number, skip), skip):
            yield self._batch(images, places[step * size : (step + 1) * size])

    def close(self) -> None:
        """As `Batches.close`."""
        self._feed.close()

    def _images(self, epoch: int, skip: int) -> Iterator[np.ndarray]:
        if self._share.workers:
            yield from self._feed.batches(epoch, skip, lambda rows: rows.pixels.copy())
            return
        for part in self._sequence.parts(epoch, skip):
            rows = Rows.empty(self._share.batch)
            self._maker.make(part, rows)
            yield rows.pixels

    def _batch(self, images: np.ndarray, places: np.ndarray) -> Batch:
        targets = self._targets
        of_rows = (targets.classes, self._weights, targets.embeddings, targets.certainty, targets.natural)
        batch = Batch(torch.from_numpy(images), *(torch.from_numpy(values[places]) for values in of_rows))
        return batch.pinned() if self._share.pinned else batch


def network_input(images: Tensor) -> Tensor:
    """Float32 (B, 3, 112, 112) in [-1, 1] of pixels, uint8 (B, 112, 112, 3); as the scorer makes it. Features as they
    are, float32 (B, channels, side, side)."""
    if images.dtype != torch.uint8:
        return images.permute(0, 3, 1, 2).float()
    return images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5).contiguous()
