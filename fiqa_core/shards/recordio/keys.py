"""Keys of records from the `.idx`, even if bytes were inserted or removed before them; never another record's key."""

import bisect
from typing import NamedTuple

from fiqa_core.shards.recordio.format import IMAGE_HEADER, LABEL, ImageHeader, parse_image_header
from fiqa_core.shards.recordio.index import ends, keys_between, keys_near
from fiqa_core.shards.recordio.plan import IndexFile
from fiqa_core.shards.recordio.scan import Extent, RecordFile
from fiqa_core.shards.unit import Unit

HEADER_BYTES = IMAGE_HEADER.size + 2 * LABEL.size  # what is read of an image record's header
_MOST_SHIFTED = 1 << 20
_COMPARED = 8  # records whose lengths are compared with the distances of the index
_ENOUGH = 3  # more records than this that agree are not chance


class _Index(NamedTuple):
    """Lines of the `.idx`: keys by offset, and the sorted offsets. `last`: the file's last line is among them."""

    keys: dict[int, str]
    offsets: list[int]
    last: bool

    def after(self, offset: int) -> int | None:
        """The next offset; None behind the last."""
        place = bisect.bisect_right(self.offsets, offset)
        return self.offsets[place] if place < len(self.offsets) else None


class RecordKeys:
    """The keys that the `.idx`, if there is one, gives for a unit; `zero` is the offset of key 0.

    A key is accepted if the record ends at the next offset of the index, or has the key's number in its own header
    (both are required if the index does not end with the file although its first records have their numbers).
    Otherwise a constant shift of all offsets is searched that fits this record and the ones behind it. In doubt a
    record gets no key.
    """

    def __init__(self, unit: Unit, file: RecordFile) -> None:
        self._file, self._unit = file, unit
        self._where = IndexFile.from_text(unit.listing)
        self._index = _Index({}, [], True)
        self._shift, self._may_search = 0, self._where is not None
        self._strict = False
        self.zero: int | None = None
        if self._where is not None:
            url, version, part, size = self._where
            keys = keys_between(url, version, part, unit.start, unit.stop)
            self._index = _Index(keys, sorted(keys), part[1] >= size)
            named = ends(url, version, size)
            self.zero = next((offset for key, offset in named if key == "0"), None)
            self._strict = bool(named) and not self._is_last(named[-1][1]) and any(map(self._has_number, named[:-1]))

    def of(self, extent: Extent) -> str | None:
        """The key of a record."""
        if self._where is None:
            return None
        if self._fits(extent):
            return self._index.keys[extent.at - self._shift]
        if not self._may_search:
            return None
        self._may_search = False
        return self._index.keys[extent.at - self._shift] if self._search(extent) else None

    def moved(self) -> None:
        """The records that follow may lie at other offsets than the `.idx` says."""
        self._may_search = self._where is not None

    def of_gap(self, at: int, following: Extent | None) -> str | None:
        """The key of the unreadable record at byte `at`, before the record `following`."""
        if self._where is None:
            return None
        key = self._index.keys.get(at - self._shift)
        if key is None and at >= self._unit.stop:
            # Behind the unit's last record; happens at most once a unit.
            url, version, (first, _), size = self._where
            key = keys_between(url, version, (first, size), at - self._shift, at - self._shift + 1).get(
                at - self._shift
            )
        self.moved()
        return None if following is not None and self.of(following) == key else key

    def _fits(self, extent: Extent) -> bool:
        key = self._index.keys.get(extent.at - self._shift)
        if key is None:
            return False
        following = self._index.after(extent.at - self._shift)
        if self._strict and key != str(self._number(extent)):
            return False
        if following is None or following == extent.end - self._shift:
            return True
        return following > extent.end - self._shift and key == str(self._number(extent))

    def _is_last(self, offset: int) -> bool:
        return self._file.believable(offset) and self._file.extent(offset).end >= self._file.size

    def _has_number(self, line: tuple[str, int]) -> bool:
        key, offset = line
        return key != "0" and self._file.believable(offset) and str(self._number(self._file.extent(offset))) == key

    def _search(self, extent: Extent) -> bool:
        """Whether exactly one shift fits; it is used from now on."""
        assert self._where is not None
        run = self._run(extent)
        url, version, part, size = self._where
        low, high = extent.at - _MOST_SHIFTED, max(run[-1].end, self._unit.stop) + _MOST_SHIFTED
        keys, last = keys_near(url, version, part, size, low, high)
        index = _Index(keys, sorted(keys), last)
        numbers = [self._number(record) for record in run]
        fitting = [
            shift
            for offset in index.offsets
            if abs(shift := extent.at - offset) <= _MOST_SHIFTED and self._agrees(run, index, shift)
        ]
        numbered = [
            shift
            for shift in fitting
            if all(numbers) and [keys[one.at - shift] for one in run] == [str(number) for number in numbers]
        ]
        sure = len(run) > _ENOUGH or (run[-1].end >= self._file.size and last)
        found = numbered if len(numbered) == 1 else fitting if sure else []
        if len(found) == 1:
            self._shift, self._index = found[0], index
        return len(found) == 1

    def _agrees(self, run: list[Extent], index: _Index, shift: int) -> bool:
        for number, record in enumerate(run):
            if record.at - shift not in index.keys:
                return False
            following = index.after(record.at - shift)
            is_last = number == len(run) - 1
            if is_last and record.end >= self._file.size:
                return following is None and index.last
            if not is_last and following != record.end - shift:
                return False
        return True

    def _run(self, extent: Extent) -> list[Extent]:
        """The record and the ones that follow it without a gap."""
        run = [extent]
        while len(run) < _COMPARED and self._file.believable(run[-1].end):
            following = self._file.extent(run[-1].end)
            if not following.whole:
                break
            run.append(following)
        return run

    def _number(self, extent: Extent) -> int:
        """The key in the record's own header; 0 if there is none."""
        header = header_of(self._file, extent)
        return 0 if header is None else header.id


def header_of(file: RecordFile, extent: Extent) -> ImageHeader | None:
    """The header of a whole record; None if it has none."""
    begin = b""
    for piece in file.payload(extent):
        begin += piece
        if len(begin) >= HEADER_BYTES:
            break
    return parse_image_header(begin[:HEADER_BYTES], extent.size)
