"""What a subset is: its settings, the pieces of work that write it, and where its files lie."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import join

SUBSET = "subset"
DATA, INDEX, WORK = "data", "index", "_work"
PLAN, LABELS, REPORT = "plan.json", "labels.csv", "summary.json"
FORMATS = ("same", "webdataset", "recordio", "parquet", "folder")
DEFAULT_SHARD_SIZE = 10_000
RECORDIO_LAYOUTS = ("insightface", "plain")


class SubsetError(ValueError):
    """A subset cannot be written as asked; the message says why and what to do."""


class SourceChangedError(SubsetError):
    """The source does not hold what was scored; the message names shard and key."""


@dataclass(frozen=True)
class SubsetSettings:
    """How kept images are written.

    Attributes:
        format: one of `FORMATS`; `same`: the one of the input.
        shard_size: images an output shard (RecordIO has one file whatever it is).
        relabel: labels become 0 .. n-1, in the order of the labels as numbers or else as text. RecordIO always.
        moved: (old, new) prefixes of the source's URLs, where it was moved since it was scored.
        recordio_layout: one of `RECORDIO_LAYOUTS`, with header and identity records or without; "": with them, unless
            there are more records than they can count.
        read: names of columns, and the limit of stored bytes, as the table was made with.
    """

    format: str = "same"
    shard_size: int = DEFAULT_SHARD_SIZE
    relabel: bool = False
    moved: tuple[tuple[str, str], ...] = ()
    recordio_layout: str = ""
    read: ReadSettings = field(default_factory=ReadSettings)

    @property
    def dense(self) -> bool:
        """Whether the output's labels are numbers from 0."""
        return self.relabel or self.format == "recordio"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON (the layout of RecordIO only where it is the plain one)."""
        values = asdict(self)
        if self.recordio_layout != "plain":
            del values["recordio_layout"]
        return values


@dataclass(frozen=True)
class Slice:
    """A run of the kept rows of one decisions file, and the unit that holds their images.

    `skip` kept rows come before it, `take` belong to it.
    """

    decisions: str
    unit: Unit
    skip: int
    take: int


@dataclass(frozen=True)
class SubsetTask:
    """Consecutive images of the output, and where they come from; small, picklable, no image in it.

    Attributes:
        number: place among the tasks, from 0. first: place of its first image in the output. images: how many.
        plan: digest of the whole plan. labels: digest of the map of labels, "" without one.
    """

    number: int
    first: int
    images: int
    slices: tuple[Slice, ...]
    plan: str = ""
    labels: str = ""


def cut(slices: Sequence[Slice], skip: int, take: int) -> tuple[Slice, ...]:
    """`take` images of consecutive slices, after the first `skip`."""
    found = []
    for piece in slices:
        begin = min(skip, piece.take)
        end = min(piece.take, begin + take)
        if end > begin:
            found.append(replace(piece, skip=piece.skip + begin, take=end - begin))
        skip, take = skip - begin, take - (end - begin)
        if take <= 0:
            break
    return tuple(found)


def place(output: str, *parts: str) -> str:
    """URL of a file of the subset."""
    return join(output, SUBSET, *parts)


def digest(value: Any) -> str:
    """16 hexadecimal digits of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
