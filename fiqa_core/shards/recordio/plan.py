"""Where a `.rec` file is cut into units, without reading all of it: by its `.idx`, or evenly."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from fiqa_core.shards.recordio.index import IndexSummary, summarise
from fiqa_core.shards.recordio.scan import RecordFile
from fiqa_core.storage import StoredFile, open_read, stat

_log = logging.getLogger(__name__)
_SAMPLE_BYTES = 1 << 20
_USUAL_RECORD = 8 << 10  # a 112x112 JPEG; used if the file's first records cannot be read
_LEAST_USUAL = 256  # no image is smaller: a file of nothing but tiny records must not become a million units
_LONGER_THAN_USUAL = 4  # a stretch between two cuts of the .idx that is this many units long is cut evenly


class Range(NamedTuple):
    """A unit's bytes in the `.rec`, and the bytes of the `.idx` that may name its records."""

    start: int
    stop: int
    lines: tuple[int, int]


class IndexFile(NamedTuple):
    """The `.idx` of a `.rec`: URL, version, the bytes of it that belong to a unit, and its size in bytes."""

    url: str
    version: str
    part: tuple[int, int]
    size: int

    def to_text(self) -> str:
        """As text, for `Unit.listing`."""
        return f"{self.url}#{self.part[0]}-{self.part[1]}-{self.size}#{self.version}"

    @classmethod
    def from_text(cls, text: str) -> "IndexFile | None":
        """From the text of `to_text`; None from empty text."""
        if not text:
            return None
        url, numbers, version = text.rsplit("#", 2)
        start, stop, size = map(int, numbers.split("-"))
        return cls(url, version, (start, stop), size)


def index_of(file: StoredFile) -> StoredFile | None:
    """The `.idx` beside a `.rec`."""
    return stat(file.url[: -len(".rec")] + ".idx") if file.url.lower().endswith(".rec") else None


def ranges(file: StoredFile, index: StoredFile | None, unit_size: int) -> Iterator[Range]:
    """Consecutive ranges of about `unit_size` records that cover the file."""
    size, usual = _look_at(file)
    if not size:
        yield Range(0, 0, (0, 0))
    found = IndexSummary()
    if index is not None:
        found = summarise(index.url, index.version, unit_size, size)
        _warn_of_damage(index, found)
    cuts = found.cuts if found.ordered else []
    marks = [(0, 0), *((at, line) for at, line in cuts if at), (size, found.size)]
    for (start, first), (stop, last) in pairwise(marks):
        part = (first, last) if found.ordered else (0, found.size)
        step = max(usual * unit_size, 4) & ~3
        if stop - start <= _LONGER_THAN_USUAL * step and cuts:
            step = max(stop - start, 1)
        for begin in range(start, stop, step):
            yield Range(begin, min(begin + step, stop), part)


def _look_at(file: StoredFile) -> tuple[int, int]:
    """Bytes of the file, and of an average record in its first megabyte."""
    with open_read(file.url, file.version, _SAMPLE_BYTES) as stream:
        rec = RecordFile(stream)
        end = min(rec.size, _SAMPLE_BYTES)
        first = at = rec.next_record(0, end)
        count = 0
        while at is not None and at < end and (part := rec.part(at)) is not None:
            at, count = part.end, count + 1
    usual = _USUAL_RECORD if at is None or first is None else (at - first) // count
    return rec.size, max(usual, _LEAST_USUAL)


def _warn_of_damage(index: StoredFile, found: IndexSummary) -> None:
    if found.damaged:
        _log.warning(
            "%s: %d of %d lines are not `key<TAB>byte offset` of a record. Records that no line names are found by "
            "looking for them; their key is @ and the byte at which they begin.",
            index.shown,
            found.damaged,
            found.damaged + found.lines,
        )
