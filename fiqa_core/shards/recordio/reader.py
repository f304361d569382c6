"""MXNet RecordIO (`train.rec`, `train.idx`, `property`), as InsightFace's training sets are stored."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fiqa_core.shards.container import Container, FoundImages
from fiqa_core.shards.recordio.blocks import image_blocks
from fiqa_core.shards.recordio.format import (
    IMAGE_HEADER,
    PART_HEADER,
    ImageHeader,
    aligned,
    label_text,
    parse_image_header,
)
from fiqa_core.shards.recordio.keys import HEADER_BYTES, RecordKeys, header_of
from fiqa_core.shards.recordio.output import InsightFaceSet
from fiqa_core.shards.recordio.plan import IndexFile, index_of, ranges
from fiqa_core.shards.recordio.scan import Extent, RecordFile
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, open_read
from fiqa_core.wording import counted
from schemas.reasons import Status

_HEADER_RECORD = PART_HEADER.size + aligned(HEADER_BYTES)
_ONE_RECORD = 64 << 10  # bytes a request on a store, where single records are wanted
_LEAST_RECORD = PART_HEADER.size + IMAGE_HEADER.size  # fewer bytes cannot hold a record
LABEL_FROM = "record headers"


class RecordIO(Container):
    """A unit is a range of bytes: it has the records that begin in it.

    `index` is the byte at which the record begins, so it does not depend on the `.idx` or the size of units. `key` is
    the record's key in the `.idx`; without one (or without an `.idx`), `@` and that byte. `label` is the identity: the
    first label. The `.idx` gives keys and places to cut; the records themselves are found in the `.rec`, so a damaged
    `.idx` costs keys but no images.

    InsightFace's header record and the identity records that it announces hold no image, and are skipped.
    """

    name = "recordio"
    suffixes = (".rec",)
    companions = (".idx", ".lst", ".meta", "property", ".bin")  # InsightFace ships verification sets beside it
    label_source = "the records' own labels"
    keys_in_place = False
    output = InsightFaceSet()

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """Ranges of about `unit_size` records; of the `.rec` itself only the first megabyte is read."""
        index = index_of(file)
        for start, stop, part in ranges(file, index, unit_size):
            names = "" if index is None else IndexFile(index.url, index.version, part, index.size).to_text()
            yield Unit(0, self.name, file.shown, file.url, start, stop, start, -1, stop - start, file.version, names)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """The images whose records begin in the unit's bytes. Unreadable bytes behind one of them (up to the next
        readable record) become a record with the reason."""
        with open_read(unit.url, unit.version) as stream:
            file = RecordFile(stream)
            names = RecordKeys(unit, file)
            identities = _identity_keys(file, names.zero)
            yield from _Reader(file, names, identities, settings.max_stored_bytes).records(unit.start, unit.stop)

    def whole(self, file: StoredFile) -> Unit:
        """All bytes of the file, without its `.idx`."""
        return replace(super().whole(file), stop=file.size)

    def without_keys(self, unit: Unit) -> Unit:
        """The unit without the `.idx`, which gives keys and nothing else."""
        return replace(unit, listing="")

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """`index` is the byte at which the record begins."""
        return replace(unit, start=index)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """`index` is the byte at which a record begins, so nothing else is read."""
        with open_read(unit.url, unit.version, _ONE_RECORD) as stream:
            file = RecordFile(stream)
            names = RecordKeys(unit, file)
            reader = _Reader(file, names, None, settings.max_stored_bytes)
            for index in wanted:
                yield from (record for record in reader.records(index, index + 1) if record.index == index)

    def reads_in_place(self, unit: Unit) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def blocks(self, unit: Unit, settings: ReadSettings, wanted: Callable[[], int | None]) -> Iterator[FoundImages]:
        """Records of one part, from the first that is wanted on."""
        with open_read(unit.url, unit.version) as stream:
            for block in image_blocks(stream, wanted, settings.max_stored_bytes):
                yield FoundImages(block.data, block.at, block.starts, block.sizes)


class _Reader:
    """The records of one range of a `.rec`."""

    def __init__(self, file: RecordFile, names: RecordKeys, identities: range | None, limit: int) -> None:
        self._file, self._names, self._identities, self._limit = file, names, identities, limit

    def records(self, start: int, stop: int) -> Iterator[Record]:
        file = self._file
        at = file.first_record(start, stop)
        if start == 0 and at != 0:
            following = file.next_record(1, file.size)
            if following is None or following >= min(stop, _LEAST_RECORD):
                yield self._lost(0, following)
        while at is not None and at < stop:
            extent = file.extent(at)
            if not extent.whole:
                at = file.next_record(extent.stop, file.size)
                yield self._broken(extent, at)
                continue
            record = self._record(extent)
            at = extent.end
            if at >= file.size or file.believable(at):
                if record is not None:
                    yield record
                continue
            # The unit that has a record reports the bytes behind it, up to where the next record begins (inside the
            # padding, if bytes are missing).
            at = file.next_record(extent.stop, file.size)
            yield from self._before_gap(record, extent.end, at)

    def _before_gap(self, record: Record | None, at: int, following: int | None) -> Iterator[Record]:
        """A record and the unreadable bytes behind it: one row if these are too few to hold a record."""
        count = (self._file.size if following is None else following) - at
        if record is None:
            yield self._lost(at, following)
        elif count < _LEAST_RECORD and not (following is None and self._file.is_cut_off(at)):
            self._names.moved()
            what = (
                f"{counted(count, 'byte behind it belongs', 'bytes behind it belong')} to no record"
                if count > 0
                else "the next record begins too early"
            )
            yield _noted(record, f"{what}: bytes were inserted or removed here, or in the record")
        elif record.fault is not None and following is not None:
            self._names.moved()
            yield _noted(record, f"What lies behind it, before byte {following}, is lost")
        else:
            yield record
            yield self._lost(at, following)

    def _record(self, extent: Extent) -> Record | None:
        """The row of a whole record; None for InsightFace's own records, which hold no image."""
        pieces = self._file.payload(extent)
        begin = b""
        for piece in pieces:
            begin += piece
            if len(begin) >= HEADER_BYTES:
                break
        header = parse_image_header(begin[:HEADER_BYTES], extent.size)
        key = self._names.of(extent) or f"@{extent.at}"
        if header is None:
            stored = counted(extent.size, "byte does", "bytes do")
            message = f"its {stored} not hold the header (24 bytes and its labels) of an image record"
            return Record(key, extent.at, None, None, Fault(Status.CORRUPT, message))
        label = label_text(header.labels[0])
        origin = "" if label is None else LABEL_FROM
        size = extent.size - header.size
        if not size:
            if self._is_bookkeeping(key, header):
                return None
            fault = Fault(Status.MISSING_IMAGE, "the record has a header and labels, but no image bytes")
            return Record(key, extent.at, label, None, fault, label_from=origin)
        image = _after(begin, pieces, header.size)
        if size > self._limit:
            digest = hashlib.sha256()
            for piece in image:
                digest.update(piece)
            fault = Fault(Status.TOO_LARGE, f"{size} stored bytes; the limit is {self._limit}")
            return Record(key, extent.at, label, None, fault, digest.digest(), label_from=origin)
        return Record(key, extent.at, label, b"".join(image), label_from=origin)

    def _is_bookkeeping(self, key: str, header: ImageHeader) -> bool:
        if self._identities is None or header.flag != 2:
            return False
        number = int(key) if key.isdecimal() else header.id
        return number == 0 or number in self._identities

    def _broken(self, extent: Extent, following: int | None) -> Record:
        reason = f"a part of the record is missing: at byte {extent.end} {self._file.found(extent.end)}"
        cut_off = extent.end >= self._file.size or self._file.is_cut_off(extent.end)
        return self._fault(extent.at, reason, following, cut_off)

    def _lost(self, at: int, following: int | None) -> Record:
        reason = f"no record can be read at byte {at}: {self._file.found(at)}"
        return self._fault(at, reason, following, self._file.is_cut_off(at))

    def _fault(self, at: int, reason: str, following: int | None, cut_off: bool) -> Record:
        if following is not None:
            message = f"{reason}. What lies before byte {following}, where a record begins again, is lost"
            key = self._names.of_gap(at, self._file.extent(following)) or f"@{at}"
            return Record(key, at, None, None, Fault(Status.CORRUPT, message))
        status = Status.SHARD_TRUNCATED if cut_off else Status.SHARD_UNREADABLE
        return Record(None, at, None, None, Fault(status, f"{reason}. No record follows"))


def _noted(record: Record, note: str) -> Record:
    if record.fault is None:
        return record._replace(note=note)
    return record._replace(fault=Fault(record.fault.status, f"{record.fault.message}. {note}"))


def _after(begin: bytes, pieces: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """The payload without its first `skip` bytes, in pieces."""
    yield begin[skip:]
    skip = max(0, skip - len(begin))
    for piece in pieces:
        yield piece[skip:]
        skip = max(0, skip - len(piece))


def _identity_keys(file: RecordFile, zero: int | None) -> range | None:
    """The keys of InsightFace's identity records, from the header record; None for a set without them.

    The header record has key 0 in the `.idx`; without an `.idx` it is the first record or the last.
    """
    for at in (zero, 0, file.size - _HEADER_RECORD):
        if at is None or at < 0 or not file.believable(at):
            continue
        extent = file.extent(at)
        if not extent.whole:
            continue
        header = header_of(file, extent)
        if header is None or header.flag != 2 or header.size != extent.size or (header.id and at != zero):
            continue
        first, last = header.labels
        if 1 <= first <= last < 1 << 32 and first.is_integer() and last.is_integer():
            # Above 2^24 (Glint360K) not every number is a float32: a key may be off by half the spacing of floats.
            return range(int(first) - _half_spacing(first), int(last) + _half_spacing(last))
    return None


def _half_spacing(value: float) -> int:
    return int(np.spacing(np.float32(value))) // 2
