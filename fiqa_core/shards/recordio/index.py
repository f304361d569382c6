"""`.idx` files: a line `key<TAB>byte offset` for each record, read in parts; every line is checked."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fiqa_core.shards.label_text import MARK
from fiqa_core.shards.names import MAX_NAME_CHARACTERS, printable, shortened
from fiqa_core.storage import open_read

_CHUNK = 1 << 20
_NEAR = 256 << 10  # bytes of the .idx to search before and behind a unit's part, if records have moved
_MAX_LINE = 1 << 16  # a line is two numbers; a longer one is damage and must not fill the memory


@dataclass
class IndexSummary:
    """What planning needs to know of an `.idx`.

    Attributes:
        cuts: of every k-th record, (byte offset in the `.rec`, byte in the `.idx` of its line).
        lines, damaged: number of lines that name a record, and of those that do not.
        ordered: offsets grow from line to line, so a part of the `.rec` is a part of the `.idx`.
        size: bytes of the `.idx`.
    """

    cuts: list[tuple[int, int]] = field(default_factory=list)
    lines: int = 0
    damaged: int = 0
    ordered: bool = True
    size: int = 0


def summarise(url: str, version: str, every: int, end: int) -> IndexSummary:
    """Read an `.idx` once, with a cut at every `every`-th record; `end`: bytes of the `.rec`."""
    found = IndexSummary()
    last = -1
    for at, lines in _lines(url, version, 0, None):
        found.size = at + sum(map(len, lines))
        offsets = _offsets(lines)
        good = (offsets >= 0) & (offsets < end) & (offsets % 4 == 0)
        found.damaged += sum(not line.isspace() for line, fine in zip(lines, good, strict=True) if not fine)
        places = np.flatnonzero(good)
        if not len(places):
            continue
        offsets = offsets[places]
        found.ordered = found.ordered and bool(offsets[0] > last and (np.diff(offsets) > 0).all())
        last = int(offsets[-1])
        starts = at + np.concatenate(([0], np.cumsum([len(line) for line in lines])))
        first = -found.lines % every
        found.cuts += [(int(offsets[n]), int(starts[places[n]])) for n in range(first, len(places), every)]
        found.lines += len(places)
    return found


def keys_between(url: str, version: str, part: tuple[int, int], start: int, stop: int) -> dict[int, str]:
    """Keys of the records that begin in bytes `start` to `stop` of the `.rec`, by offset; `part`: bytes of the
    `.idx` to read. Of two lines for one offset the first counts."""
    keys: dict[int, str] = {}
    for _, lines in _lines(url, version, *part):
        _take(lines, start, stop, keys)
    return keys


def keys_near(
    url: str, version: str, part: tuple[int, int], size: int, start: int, stop: int
) -> tuple[dict[int, str], bool]:
    """As `keys_between`, but also from lines shortly before and behind the part; and whether the `.idx` ends there."""
    begin, end = max(0, part[0] - _NEAR), min(size, part[1] + _NEAR)
    keys: dict[int, str] = {}
    for at, lines in _lines(url, version, begin, end):
        # Lines that are cut off are left out: half a number is another number.
        whole = lines[int(at == begin > 0) : len(lines) - int(end < size and at + sum(map(len, lines)) >= end)]
        _take(whole, start, stop, keys)
    return keys, end == size and (not keys or stop > max(keys))


def ends(url: str, version: str, size: int) -> list[tuple[str, int]]:
    """(key, offset) of the first two lines and of the last; lines that name no record are left out."""
    first = next((lines[:2] for _, lines in _lines(url, version, 0, min(size, _MAX_LINE))), [])
    last = b""
    for _, lines in _lines(url, version, max(0, size - _MAX_LINE), size):
        last = next((line for line in reversed(lines) if not line.isspace()), last)
    return [
        (line.removeprefix(MARK).split()[0].decode("utf-8", "surrogateescape"), offset)
        for line in (*first, last)
        if (offset := _offset(line)) >= 0
    ]


def _take(lines: list[bytes], start: int, stop: int, keys: dict[int, str]) -> None:
    offsets = _offsets(lines)
    for place in np.flatnonzero((offsets >= start) & (offsets < stop)):
        key = lines[place].removeprefix(MARK).split()[0].decode("utf-8", "surrogateescape")
        keys.setdefault(int(offsets[place]), shortened(printable(key), MAX_NAME_CHARACTERS))


def _lines(url: str, version: str, start: int, stop: int | None) -> Iterator[tuple[int, list[bytes]]]:
    """Lines with their line breaks, a megabyte at a time, and the byte at which the first begins."""
    with open_read(url, version) as stream:
        stream.seek(start)
        at, left = start, b""
        while True:
            wanted = _CHUNK if stop is None else min(_CHUNK, stop - at - len(left))
            chunk = stream.read(wanted) if wanted > 0 else b""
            lines = (left + chunk).splitlines(keepends=True)
            left = lines.pop() if lines and chunk and len(lines[-1]) < _MAX_LINE else b""
            if lines:
                yield at, lines
                at += sum(map(len, lines))
            if not chunk:
                return


def _offsets(lines: list[bytes]) -> np.ndarray:
    """int64 offsets of lines, -1 for a line without one."""
    return np.fromiter((_offset(line) for line in lines), np.int64, len(lines))


def _offset(line: bytes) -> int:
    fields = line.split() if len(line) < _MAX_LINE else []
    if len(fields) != 2 or not fields[1].isdigit() or len(fields[1]) > 18:
        return -1
    return int(fields[1])
