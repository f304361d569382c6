"""Places of a WebDataset tar at which reading can begin, found by a walk over its headers."""

from collections.abc import Generator
from typing import IO, NamedTuple

import numpy as np

from fiqa_core.shards.tar.border import Border
from fiqa_core.shards.tar.header import NO_PAX
from fiqa_core.shards.tar.outline import Walk
from fiqa_core.shards.webdataset.blocks import sample_blocks
from fiqa_core.shards.webdataset.parts import parts
from fiqa_core.shards.webdataset.records import count_of
from fiqa_core.shards.webdataset.sample import MAX_SIDECAR_BYTES, Sample

_STEPS = 16  # marks a unit: reading that begins inside it passes over at most this part of it
_MOST_ATTRIBUTES = 64 << 10  # bytes of global pax attributes that a mark may hold


class Mark(NamedTuple):
    """Where a sample begins whose first record has this `index`; `unit`: a unit begins here too."""

    border: Border
    index: int  # type: ignore[assignment]  # shadows tuple.index, which is not used
    unit: bool


class _Pace:
    """Says of each possible place whether it becomes a mark."""

    def __init__(self, unit_size: int) -> None:
        self._unit_size, self._step = unit_size, -(-unit_size // _STEPS)
        self._unit_at = self._mark_at = 0

    @property
    def following(self) -> int:
        """`index` from which on a place is one."""
        return min(self._mark_at + self._step, self._unit_at + self._unit_size)

    def mark(self, border: Border, index: int) -> Mark:
        """The mark of a place; `take` it, if it is used."""
        return Mark(border, index, index - self._unit_at >= self._unit_size)

    def take(self, mark: Mark) -> Mark:
        """From here on the next one is looked for."""
        self._mark_at = mark.index
        self._unit_at = mark.index if mark.unit else self._unit_at
        return mark


def find_marks(walk: Walk, stream: IO[bytes] | None, max_bytes: int, unit_size: int) -> Generator[Mark, None, int]:
    """The marks of a tar in order, without its start; the result is the number of records, rows for damage included.

    A unit begins at the first possible place behind `unit_size` records.

    Args:
        walk: over the tar.
        stream: the tar, to be read as far as it is plain (`blocks.py`), which takes half the time of a walk where
            members are small; None: only the walk is used.
        max_bytes: as in `walk`.
    """
    pace = _Pace(unit_size)
    index = 0
    if stream is not None:
        index = yield from _plain_marks(walk, stream, max_bytes, pace)
    waiting: Mark | None = None
    for part in parts(walk, MAX_SIDECAR_BYTES):
        if not isinstance(part, Sample):
            waiting, index = None, index + 1
            continue
        # The rest of a sample that was handed on in parts is no place to begin.
        if waiting is not None and not part.continued:
            yield pace.take(waiting)
        waiting = None
        index += count_of(part)
        if not part.damaged and index >= pace.following:
            border = walk.border
            if border is not None and _fits(border):
                waiting = pace.mark(border, index)
    return index


def _plain_marks(walk: Walk, stream: IO[bytes], max_bytes: int, pace: _Pace) -> Generator[Mark, None, int]:
    """The marks of a tar's plain beginning; the walk goes on from the last sample of it, whose index is the result."""
    first = 0
    for samples in sample_blocks(stream, max_bytes):
        begins = samples.at + samples.begin[samples.first[:-1]]
        while (place := int(np.searchsorted(samples.index, pace.following))) < len(begins):
            # All headers so far had magic, and no global attributes.
            yield pace.take(pace.mark(Border(int(begins[place]), False, 0, NO_PAX), int(samples.index[place])))
        first = int(samples.index[-1])
        walk.pass_over(Border(int(begins[-1]), False, 0, NO_PAX))
    return first


def estimated_records(walk: Walk, size: int, look_at: int) -> int:
    """About how many records a tar of `size` bytes has, told by its first `look_at` bytes."""
    index = 0
    for part in parts(walk, MAX_SIDECAR_BYTES):
        index += count_of(part) if isinstance(part, Sample) else 1
        if walk.reached >= look_at:
            return index * size // walk.reached
    return index


def _fits(border: Border) -> bool:
    return sum(len(name) + len(value) for name, value in border.attributes.items()) <= _MOST_ATTRIBUTES
