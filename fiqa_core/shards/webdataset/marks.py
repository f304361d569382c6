"""Places of a WebDataset tar at which reading can begin, found by a walk over its headers."""

from collections.abc import Generator
from typing import NamedTuple

from fiqa_core.shards.tar.border import Border
from fiqa_core.shards.tar.outline import Walk
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


def find_marks(walk: Walk, unit_size: int) -> Generator[Mark, None, int]:
    """The marks of a tar in order, without its start; the result is the number of records, rows for damage included.

    A unit begins at the first possible place behind `unit_size` records.
    """
    step = -(-unit_size // _STEPS)
    index = unit_at = mark_at = 0
    waiting: Mark | None = None
    for part in parts(walk, MAX_SIDECAR_BYTES):
        if not isinstance(part, Sample):
            waiting, index = None, index + 1
            continue
        # The rest of a sample that was handed on in parts is no place to begin.
        if waiting is not None and not part.continued:
            yield waiting
            mark_at = waiting.index
            unit_at = mark_at if waiting.unit else unit_at
        waiting = None
        index += count_of(part)
        if not part.damaged and (index - mark_at >= step or index - unit_at >= unit_size):
            border = walk.border
            if border is not None and _fits(border):
                waiting = Mark(border, index, index - unit_at >= unit_size)
    return index


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
