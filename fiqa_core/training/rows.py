"""One batch as arrays, in the memory of a process or in memory that several processes share."""

import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from fiqa_core.images.resize import NETWORK_SIDE
from fiqa_core.nameless_memory import nameless_memory
from fiqa_core.training.errors import TrainingError

_PIXELS = NETWORK_SIDE * NETWORK_SIDE * 3
_ROW_BYTES = _PIXELS + 8 + 4 + 1


class Rows(NamedTuple):
    """Arrays of B images.

    `pixels`: uint8 (B, 112, 112, 3) RGB. `classes`: int64 (B,). `weights`: float32 (B,). `usable`: bool (B,), False
    if the image could not be decoded; the rest of the row has no meaning then.
    """

    pixels: np.ndarray
    classes: np.ndarray
    weights: np.ndarray
    usable: np.ndarray

    @classmethod
    def over(cls, memory: Any, batch: int) -> "Rows":
        """The arrays in `batch * row` bytes of writable memory."""
        pixels = np.frombuffer(memory, np.uint8, batch * _PIXELS).reshape(batch, NETWORK_SIDE, NETWORK_SIDE, 3)
        place = batch * _PIXELS
        classes = np.frombuffer(memory, np.int64, batch, place)
        weights = np.frombuffer(memory, np.float32, batch, place + 8 * batch)
        return cls(pixels, classes, weights, np.frombuffer(memory, np.bool_, batch, place + 12 * batch))

    @classmethod
    def empty(cls, batch: int) -> "Rows":
        """New arrays in this process's memory."""
        return cls.over(np.empty(batch * _ROW_BYTES, np.uint8), batch)

    @classmethod
    def shared(cls, descriptor: int, batch: int) -> "Rows":
        """The arrays in memory that `shared_memory` made, in this process or in the one that sent the descriptor."""
        return cls.over(mmap.mmap(descriptor, batch * _ROW_BYTES), batch)


def shared_memory(batch: int) -> int:
    """Descriptor of new memory for a batch. It has no name, so nothing is left when its last process ends.

    Raises:
        TrainingError: the system has no such memory, or not enough of it.
    """
    if not hasattr(os, "memfd_create"):
        raise TrainingError("worker processes need memory without a name, which only Linux has; use --workers 0")
    try:
        return nameless_memory("fiqa-training-batch", batch * _ROW_BYTES)
    except OSError as error:
        raise TrainingError(
            f"no {batch * _ROW_BYTES / 1e6:.0f} MB of shared memory for a batch ({error}); use a smaller batch, or "
            "--workers 0"
        ) from error
