"""Lists of image files: a record is a file that a line of a list, or a row of a CSV file, names."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from typing import IO, NamedTuple

from fiqa_core.shards.container import Container, UnfitShardError
from fiqa_core.shards.image_file import FileContent, read_local_image, read_stored_image
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, parent, printable, shortened
from fiqa_core.shards.path_list.layout import EmptyListError, Layout, find_layout
from fiqa_core.shards.path_list.lines import MOST_LINE_BYTES, Row, rows
from fiqa_core.shards.path_list.places import Unsafe, place_of
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import (
    DeniedError,
    MissingError,
    StoredFile,
    in_flight,
    is_local,
    open_read,
    stat,
)
from schemas.reasons import Status

_VERSIONS = " files:"  # between the version of the list and the digest of the files that it names


class PathList(Container):
    """A unit is a run of rows, by their bytes in the list; a record's key is the path as the list has it.

    The label is the label column of a CSV file, the text behind the path in a plain list, else the path's folder part.
    """

    name = "path_list"
    named_suffixes = (".txt", ".csv", ".tsv")

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Runs of `unit_size` rows. The list is read; files on a local disk are looked at (size and time), so that a
        changed image is noticed.

        Raises:
            UnfitShardError: it names no images, or lacks the columns that `settings` name.
        """
        try:
            with open_read(file.url, file.version) as stream, closing(stream):
                layout = find_layout(stream, file.url, settings or ReadSettings())
                yield from self._runs(file, stream, layout, unit_size)
        except UnfitShardError as error:
            if settings is not None or isinstance(error, EmptyListError):
                raise UnfitShardError(f"{file.shown}: {error}") from error
            yield self.whole(file)

    def inputs_in(self, file: StoredFile, is_shard: Callable[[str], bool]) -> Sequence[str] | None:
        """The shards that a list names, where its first line is a shard's name and no image's."""
        with open_read(file.url, file.version) as stream, closing(stream):
            first = next(rows(stream, 0, None, ""), None)
            path = first.cells[0].strip() if first is not None and first.cells else ""
            if not is_shard(path):
                return None
            found = [row.cells[0].strip() if row.cells else "" for row in rows(stream, 0, None, "")]
        base = (file.url.rpartition("/")[0]) or "/"
        places = [place_of(each, file.url, base) for each in found]
        for each, place in zip(found, places, strict=True):
            if isinstance(place, Unsafe):
                raise UnfitShardError(f"{file.shown}: the shard {shortened(each, 300)!r} {place.reason}.")
        return [place for place in places if isinstance(place, str)]

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row; files of a local disk are read one at a time, others many at once."""
        return _records(unit, settings, None)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """Other files are not opened."""
        return (record for record in _records(unit, settings, set(wanted)) if record.key is not None)

    def read_places(self, unit: Unit, settings: ReadSettings, places: Iterator[int]) -> Iterator[Record]:
        """As `read`; other files are not opened."""
        return _records(unit, settings, {unit.first_index + place for place in places})

    def _runs(self, file: StoredFile, stream: IO[bytes], layout: Layout, unit_size: int) -> Iterator[Unit]:
        first = index = 0
        start = end = layout.start
        digest = hashlib.sha256()
        looked_at = is_local(layout.base)
        for row in rows(stream, layout.start, None, layout.delimiter):
            if index - first == unit_size:
                yield self._unit(file, start, end, first, index, digest)
                first, start, digest = index, end, hashlib.sha256()
            if looked_at and row.cells:
                digest.update(_state(layout.of(row.cells)[0], file.url, layout.base))
            index, end = index + 1, row.end
        if index > first:
            yield self._unit(file, start, end, first, index, digest)

    def _unit(self, file: StoredFile, start: int, stop: int, first: int, end: int, digest: "hashlib._Hash") -> Unit:
        version = f"{file.version}{_VERSIONS}{digest.hexdigest()[:16]}"
        return Unit(0, self.name, file.shown, file.url, start, stop, first, end - first, -1, version)


_WEIGHT = 1 << 20  # bytes that a file of unknown size is taken for, of those that are fetched at once


def _records(unit: Unit, settings: ReadSettings, wanted: Set[int] | None) -> Iterator[Record]:
    """The records of a unit; `wanted`: only those with these `index`."""
    with open_read(unit.url, unit.version.partition(_VERSIONS)[0]) as stream, closing(stream):
        try:
            layout = find_layout(stream, unit.url, settings)
        except UnfitShardError as error:
            yield Record(None, unit.first_index, None, None, Fault(Status.SHARD_UNREADABLE, str(error)))
            return
        start, stop = (unit.start, unit.stop) if unit.stop else (layout.start, None)
        numbered = enumerate(rows(stream, start, stop, layout.delimiter), unit.first_index)
        items = (_item(row, index, layout, unit.url) for index, row in numbered if wanted is None or index in wanted)
        limit = settings.max_stored_bytes
        if "://" not in layout.first and is_local(layout.base):
            yield from (_record(item, limit) for item in items)
            return
        yield from in_flight(items, lambda item: _record(item, limit), weigh=lambda _: min(limit, _WEIGHT))


class _Item(NamedTuple):
    """A row of a list: its record without the image, and the file's place or why there is none."""

    record: Record
    place: str | Unsafe


def _item(row: Row, index: int, layout: Layout, list_url: str) -> _Item:
    if not row.cells:
        place = Unsafe(f"is longer than {MOST_LINE_BYTES} bytes")
        return _Item(Record(f"@{row.at}", index, None, None), place)
    path, label = layout.of(row.cells)
    if not path:
        place = Unsafe("has no path in its column")
        return _Item(Record(f"@{row.at}", index, label, None), place)
    key = shortened(printable(path), MAX_NAME_CHARACTERS)
    source = layout.source
    if label is not None and not layout.delimiter:
        source = "the text behind the path"
    if label is None and layout.label is None and "://" not in path:
        label = parent(printable(path).removeprefix("./"))
    text = None if label is None else shortened(printable(label), MAX_LABEL_CHARACTERS)
    origin = source if text is not None else ""
    return _Item(Record(key, index, text, None, label_from=origin), place_of(path, list_url, layout.base))


def _record(item: _Item, limit: int) -> Record:
    record, place = item
    if isinstance(place, Unsafe):
        status = Status.UNSAFE_NAME if record.key and not record.key.startswith("@") else Status.UNREADABLE
        shown = shortened(record.key or "", 300)
        return record._replace(fault=Fault(status, f"the line {shown!r} {place.reason}"))
    data, fault, digest = _content(place, limit)
    return record._replace(data=data, fault=fault, sha256=digest)


def _content(place: str, limit: int) -> FileContent:
    if place.startswith("/"):
        return read_local_image(place, limit)
    try:
        file = stat(place)
        if file is None:
            return FileContent(None, Fault(Status.UNREADABLE, "no such file"))
        return read_stored_image(place, file.size, limit)
    except MissingError:
        return FileContent(None, Fault(Status.UNREADABLE, "no such file"))
    except DeniedError as error:
        # One address of many that a server refuses; a store whose own list can be read but nothing else is rarer.
        if not place.lower().startswith("http"):
            raise
        return FileContent(None, Fault(Status.UNREADABLE, str(error)))


def _state(path: str, list_url: str, base: str) -> bytes:
    """Size and time of a local file, b"" of any other."""
    place = place_of(path, list_url, base)
    if isinstance(place, Unsafe) or "://" in place:
        return b""
    try:
        details = os.stat(place)  # noqa: PTH116
    except (OSError, ValueError):
        return b"-"
    return b"%d %d\n" % (details.st_size, details.st_mtime_ns)
