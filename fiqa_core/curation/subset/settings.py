"""A subset: its settings, the tasks that write it, and the places of its files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fiqa_core.errors import FiqaError
from fiqa_core.shards.formats import SAME, output_formats, output_of
from fiqa_core.shards.output import Output
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import join

SUBSET = "subset"
DATA, INDEX, WORK = "data", "index", "_work"
PLAN, LABELS, REPORT = "plan.json", "labels.csv", "summary.json"
DEFAULT_SHARD_SIZE = 10_000


class SubsetError(FiqaError, ValueError):
    """A subset cannot be written as asked; the message says why and what to do."""


class AnotherSubsetError(SubsetError):
    """Images lie there that were written by other decisions or settings, or from another source."""


class SourceChangedError(SubsetError):
    """The source does not hold what was scored; the message names shard and key."""


@dataclass(frozen=True)
class SubsetSettings:
    """How kept images are written.

    Attributes:
        format: one of `output_formats()`; `same`: the one of the input.
        shard_size: images in an output shard (a format that is one set of files has one shard for any value).
        relabel: labels become 0 .. n-1, in the order of the labels as numbers or else as text. Some formats always
            have such labels (`Output.dense_labels`).
        moved: (old, new) prefixes of the source's URLs, if it was moved since it was scored.
        recordio_layout: one of the format's `layouts`; "": the usual one, if it can hold the images.
        read: names of columns, and the limit of stored bytes, as the table was made with.
    """

    format: str = SAME
    shard_size: int = DEFAULT_SHARD_SIZE
    relabel: bool = False
    moved: tuple[tuple[str, str], ...] = ()
    recordio_layout: str = ""
    read: ReadSettings = field(default_factory=ReadSettings)

    @property
    def dense(self) -> bool:
        """Whether the output's labels are numbers from 0."""
        return self.relabel or (self.format != SAME and self.output.dense_labels)

    @property
    def output(self) -> Output:
        """The output of the format; `same` must be replaced before."""
        return output_of(self.format)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON (the layout only if it is not the usual one)."""
        values = asdict(self)
        if self.recordio_layout in ("", *_usual_layouts(self.format)):
            del values["recordio_layout"]
        return values


def is_subset(what: str) -> bool:
    """Whether `--write` names a format of images (not a list of them, or nothing)."""
    return what in output_formats()


def keeps_samples(what: str) -> bool:
    """Whether this `--write` keeps further files of a sample, its label among them; `same` may."""
    return what == SAME or (is_subset(what) and output_of(what).keeps_others)


def layouts_of(what: str) -> tuple[str, ...]:
    """The layouts that may be chosen with this `--write`; for `same`, which is replaced later, all layouts."""
    names = output_formats()[1:] if what == SAME else (what,)
    return tuple(layout for name in names if is_subset(name) for layout in output_of(name).layouts)


def _usual_layouts(format: str) -> tuple[str, ...]:
    return layouts_of(format)[:1]


@dataclass(frozen=True)
class Slice:
    """Consecutive kept rows of one decisions file, and the unit that holds their images.

    `skip` kept rows come before the slice, `take` belong to it.
    """

    decisions: str
    unit: Unit
    skip: int
    take: int


@dataclass(frozen=True)
class SubsetTask:
    """Consecutive images of the output, and their sources; small, picklable, without images.

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
