"""LMDB shards: a record is a key with the bytes of an image."""

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from fiqa_core.shards.container import Container, UnfitShardError, picked
from fiqa_core.shards.label_text import value_text
from fiqa_core.shards.lmdb.database import Database, NoDatabaseError, open_database
from fiqa_core.shards.lmdb.layout import LEAF, PAGE_HEADER, Big, Node, PageError
from fiqa_core.shards.lmdb.listing import BOOKKEEPING, LABEL_FROM
from fiqa_core.shards.lmdb.pages import PagedFile, nodes
from fiqa_core.shards.lmdb.tree import Lost
from fiqa_core.shards.lmdb.writer import LmdbShards
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, printable, shortened
from fiqa_core.shards.plain_pickle import PickleError, PlainPickle
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StorageError, StoredFile, is_local, open_read, stat
from fiqa_core.wording import counted
from schemas.reasons import Status

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_PICKLE = b"\x80"
_MOST_BESIDE = 64 << 10  # bytes of a value that holds an image and its label, besides the image
_STRAY = (
    "found in a page that no other page leads to, since pages of the database are damaged: it may be an older image of "
    "its key, or one that was removed"
)


class Lmdb(Container):
    """A unit is a run of leaf pages in the order of keys; `index` is a record's number in that order.

    A key that is not UTF-8 is shown with its bytes escaped. Values are an image's bytes, or a pickle of these and a
    label. In ViT-FIQA's layout labels come from `__labels__`, and a key of `__keys__` that has no value is a row too.
    """

    name = "lmdb"
    suffixes = (".lmdb", ".lmdb_dataset", ".mdb")
    companions = ("lock.mdb", ".lmdb-lock", ".lmdb_dataset-lock", ".mdb-lock")
    label_source = "those stored with the images"
    output = LmdbShards()

    def recognises(self, name: str) -> bool:
        """The data of a database, not its lock."""
        return super().recognises(name) and not self.is_companion(name)

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Runs of leaf pages with `unit_size` records or a few more. No image is read."""
        name = "" if settings is None else settings.image_field
        if not is_local(file.url):
            raise StorageError(
                f"{file.shown}: an LMDB file is read page by page, here and there, which a store answers too slowly. "
                "Copy it to a local disk and name it there."
            )
        try:
            database = open_database(file.url, file.version, name)
        except NoDatabaseError as error:
            raise UnfitShardError(f"{file.shown}: {error}") from error
        except PageError:
            # Its reading will fail in the same way and become the shard's row, with the reason.
            yield replace(self.whole(file), listing=name)
            return
        counts = database.counts
        total = sum(counts)
        first = start = records = 0
        for place, count in enumerate(counts):
            records += count
            if records >= unit_size or place == len(counts) - 1:
                size = file.size * records // max(total, 1)
                yield Unit(
                    0, self.name, file.shown, file.url, start, place + 1, first, records, size, file.version, name
                )
                start, first, records = place + 1, first + records, 0
        if not counts:
            yield replace(self.whole(file), records=0, listing=name)

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """The place that has the record: a few come before it."""
        if unit.records < 0:
            return unit
        place, first = unit.start, unit.first_index
        for count in open_database(unit.url, _version(unit), unit.listing).counts[unit.start : unit.stop]:
            if first + count > index:
                break
            place, first = place + 1, first + count
        return replace(unit, start=place, first_index=first, records=unit.first_index + unit.records - first)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """The pages that have the records."""
        try:
            database = open_database(unit.url, _version(unit), unit.listing or settings.image_field)
        except PageError:
            yield from picked(self, unit, settings, wanted)
            return
        ends = np.cumsum(database.counts)
        with open_read(unit.url, unit.version) as stream:
            file = PagedFile(stream.fileno())
            places = np.searchsorted(ends, np.asarray(wanted, np.int64), "right").tolist()
            for place, group in groupby(zip(places, wanted, strict=True), key=lambda pair: pair[0]):
                if place == len(ends):
                    return
                here = {index for _, index in group}
                part = _Part(file, database, settings.max_stored_bytes)
                first = int(ends[place]) - database.counts[place]
                yield from (record for record in part.records(place, first) if record.index in here)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a key, one for each key that is listed without a value, and one for pages that are lost."""
        try:
            database = open_database(unit.url, _version(unit), unit.listing or settings.image_field)
        except PageError as error:
            status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
            yield Record(None, unit.first_index, None, None, Fault(status, str(error)))
            return
        index = unit.first_index
        stop = unit.stop if unit.records >= 0 else len(database.counts)
        with open_read(unit.url, unit.version) as stream:
            file = PagedFile(stream.fileno())
            for place in range(unit.start, stop):
                for record in _Part(file, database, settings.max_stored_bytes).records(place, index):
                    yield record
                    index += 1


def _version(unit: Unit) -> str:
    """The unit's version, or (for a file that was moved) that of the file: what is remembered of it is of this one."""
    if unit.version:
        return unit.version
    file = stat(unit.url)
    return "" if file is None else file.version


class _Part:
    """The records of one place of a database."""

    def __init__(self, file: PagedFile, database: Database, limit: int) -> None:
        self._file, self._database, self._limit = file, database, limit

    def records(self, place: int, index: int) -> Iterator[Record]:
        """The records of place `place` of `Database.counts`, the first of them with this `index`."""
        pages, strays = self._database.pages, self._database.strays
        if place < len(pages):
            yield from self._of_page(pages[place], index)
        elif place < len(pages) + len(strays):
            stray = strays[place - len(pages)]
            there = nodes(self._file.page(stray.page, LEAF))
            yield from self._of_nodes([there[node] for node in stray.nodes.tolist()], index, _STRAY)
        else:
            yield from self._absent(index)

    def _of_page(self, page: int | Lost, index: int) -> Iterator[Record]:
        if isinstance(page, Lost):
            status = Status.SHARD_TRUNCATED if page.truncated else Status.SHARD_UNREADABLE
            yield Record(None, index, None, None, Fault(status, page.message))
            return
        try:
            found = nodes(self._file.page(page, LEAF))
        except PageError as error:
            yield Record(None, index, None, None, Fault(Status.SHARD_UNREADABLE, Lost(str(error), 1, False).message))
            return
        if self._database.listing is not None:
            found = [node for node in found if node.key not in BOOKKEEPING]
        yield from self._of_nodes(found, index, None)

    def _of_nodes(self, found: list[Node], index: int, note: str | None) -> Iterator[Record]:
        listing = self._database.listing
        labels: list[str | None] = [None] * len(found)
        if listing is not None:
            labels = listing.labels_at(listing.of([node.key for node in found]))
            note = note or listing.problem or None
        values = self._file.values([node.value for node in found if isinstance(node.value, Big)])
        for number, (node, label) in enumerate(zip(found, labels, strict=True), index):
            value = node.value
            data = values.pop(value.page, None) if isinstance(value, Big) else None
            if data is None or len(data) > self._limit or data[:1] == _PICKLE:
                yield self._record(node, number, label, note)
                continue
            key = node.key.decode("utf-8", "surrogateescape")
            if not key.isascii():
                key = printable(key)
            yield Record(key or str(number), number, label, data, None, None, note, LABEL_FROM if label else "")

    def _record(self, node: Node, index: int, label: str | None, note: str | None) -> Record:
        key = printable(node.key.decode("utf-8", "surrogateescape")) or str(index)
        origin = "" if label is None else LABEL_FROM
        value = node.value
        if isinstance(value, Big):
            if value.size > self._limit:
                return self._too_large(key, index, label, value)
            try:
                value = self._file.value(value)
            except PageError as error:
                fault = Fault(Status.CORRUPT, f"its value is lost: {error}")
                return Record(key, index, label, None, fault, label_from=origin)
        if isinstance(value, bytes):
            if len(value) > self._limit:
                fault = Fault(Status.TOO_LARGE, f"{len(value)} stored bytes; the limit is {self._limit}")
                return Record(key, index, label, None, fault, hashlib.sha256(value).digest(), label_from=origin)
            if value[:1] == _PICKLE and value[-1:] == b".":
                return _of_pickle(key, index, label, value, note)
            return Record(key, index, label, value, None, None, note, origin)
        if value is None:
            fault = Fault(Status.CORRUPT, node.fault)
        else:
            fault = Fault(
                Status.UNREADABLE,
                f"a database inside the file, of {counted(value.entries, 'record')}: read it with --image-field {key}",
            )
        return Record(key, index, label, None, fault, label_from=origin)

    def _too_large(self, key: str, index: int, label: str | None, big: Big) -> Record:
        try:
            self._file.check(big)
        except PageError as error:
            return Record(key, index, label, None, Fault(Status.CORRUPT, f"its value is lost: {error}"))
        digest, at = hashlib.sha256(), big.page * self._file.page_size + PAGE_HEADER
        for start in range(at, at + big.size, _CHUNK):
            digest.update(self._file.read(start, min(_CHUNK, at + big.size - start)))
        fault = Fault(Status.TOO_LARGE, f"{big.size} stored bytes; the limit is {self._limit}")
        return Record(key, index, label, None, fault, digest.digest(), label_from="" if label is None else LABEL_FROM)

    def _absent(self, index: int) -> Iterator[Record]:
        listing = self._database.listing
        assert listing is not None
        lost = any(isinstance(page, Lost) for page in self._database.pages)
        where = "; it was in one of the pages that are lost" if lost else ""
        absent = self._database.absent
        for number, (place, label) in enumerate(zip(absent.tolist(), listing.labels_at(absent), strict=True), index):
            key = printable(listing.key(place).decode("utf-8", "surrogateescape"))
            status = Status.CORRUPT if lost else Status.MISSING_IMAGE
            fault = Fault(status, f"__keys__ lists this key, but the database has no value for it{where}")
            yield Record(key, number, label, None, fault, label_from="" if label is None else LABEL_FROM)


def _of_pickle(key: str, index: int, label: str | None, value: bytes, note: str | None) -> Record:
    """A value that is a pickle of an image, or of an image and its label."""
    try:
        found = PlainPickle(io.BytesIO(value), most=_MOST_BESIDE, kept=len(value)).load()
    except PickleError as error:
        fault = Fault(Status.UNREADABLE, f"the value is a pickle that is not read: {error}")
        return Record(key, index, label, None, fault, label_from="" if label is None else LABEL_FROM)
    parts = found if isinstance(found, tuple | list) else (found,)
    image = next((part for part in parts if isinstance(part, bytes)), None)
    if image is None:
        fault = Fault(Status.MISSING_IMAGE, "the value is a pickle without the bytes of an image")
        return Record(key, index, label, None, fault, label_from="" if label is None else LABEL_FROM)
    if label is not None:
        return Record(key, index, label, image, None, None, note, LABEL_FROM)
    text = next((value_text(part) for part in parts if isinstance(part, int | str)), None)
    own = None if text is None else printable(shortened(text, MAX_LABEL_CHARACTERS))
    return Record(key, index, own, image, None, None, note, "" if own is None else "pickled values")
