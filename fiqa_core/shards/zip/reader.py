"""Zip archives: a record is an image in the archive, its label the folder that it lies in there."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import IO

from fsspec.utils import glob_translate

from fiqa_core.shards.container import Container, UnfitShardError, picked
from fiqa_core.shards.names import (
    MAX_LABEL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    is_image,
    is_litter,
    is_safe,
    parent,
    printable,
    shortened,
)
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.shards.zip.content import member_content
from fiqa_core.shards.zip.directory import (
    Directory,
    DirectoryError,
    SplitError,
    entries,
    find_directory,
    whole_directory,
)
from fiqa_core.shards.zip.entry import Entry
from fiqa_core.shards.zip.scan import Lost, scanned
from fiqa_core.storage import StoredFile, has_magic, look_into, open_read, without_query
from fiqa_core.wording import counted
from schemas.reasons import Status

_log = logging.getLogger(__name__)
_NAMES_SHOWN = 10
_LABEL_FROM = "folder names"
_MAC_FOLDER = "__MACOSX/"
_TELL_EVERY = 16


class Zip(Container):
    """A unit is a run of entries of the archive's directory; the key is the member's name.

    `index` counts the images among the members (those that the URI names: `zip://Ann/*.jpg::faces.zip`). An archive
    whose directory is missing or damaged is one unit, read by the members' own headers.
    """

    name = "zip"
    suffixes = (".zip",)
    label_source = "the folder names in the archive"

    def recognises(self, name: str) -> bool:
        """By the archive's name, where a URI looks into one."""
        return super().recognises(without_query(look_into(name)[1]))

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Runs of `unit_size` images. The directory is read, no member.

        Raises:
            UnfitShardError: `settings` are given, and none of the members is (called like) an image.
        """
        members, url = look_into(file.url)
        chosen = _Chosen(members)
        try:
            with open_read(url, file.version) as stream, closing(stream):
                cuts, count = _cuts(stream, chosen, unit_size)
        except DirectoryError as error:
            _log.warning("%s: %s. Its members are found by their own headers, one after the other", file.shown, error)
            yield self.whole(file)
            return
        if not count:
            if settings is not None:
                raise UnfitShardError(f"{file.shown}: {chosen.nothing()}")
            yield self.whole(file)
            return
        chosen.log(file.shown)
        for number, (start, first) in enumerate(cuts[:-1]):
            stop, end = cuts[number + 1]
            size = file.size * (end - first) // count if file.size >= 0 else -1
            yield Unit(0, self.name, file.shown, file.url, start, stop, first, end - first, size, file.version)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each image, whatever state it is in; without a directory, one for each lost stretch too."""
        if unit.stop:
            yield from _by_directory(unit, settings, None)
            return
        members, url = look_into(unit.url)
        with open_read(url, unit.version) as stream, closing(stream):
            yield from _read_whole(stream, _Chosen(members), settings.max_stored_bytes)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """By the directory, without reading other members."""
        return _by_directory(unit, settings, iter(wanted)) if unit.stop else picked(self, unit, settings, wanted)

    def reads_in_place(self, unit: Unit) -> bool:
        """Where there is a directory."""
        return unit.stop > 0

    def read_places(self, unit: Unit, settings: ReadSettings, places: Iterator[int]) -> Iterator[Record]:
        """As `read`; other members are not read."""
        if not unit.stop:
            return super().read_places(unit, settings, places)
        return _by_directory(unit, settings, (unit.first_index + place for place in places))


class _Chosen:
    """Which members are records; others are counted, with the names of the first, for the log."""

    def __init__(self, members: str) -> None:
        self._members = members
        self._named = members and not has_magic(members)
        self._fits: Callable[[str], object] = re.compile(glob_translate(members)).match if members else bool
        if self._named:
            folder = members.rstrip("/") + "/"
            self._fits = lambda name: name == members or name.startswith(folder)
        self.others = 0
        self.names: list[str] = []

    def __call__(self, entry: Entry) -> bool:
        name = entry.name
        if name.endswith("/") or is_litter(name) or name.startswith(_MAC_FOLDER) or not self._fits(name):
            return False
        if is_image(name) or (self._named and name == self._members):
            return True
        self.others += 1
        if len(self.names) < _NAMES_SHOWN:
            self.names.append(printable(shortened(name, 100)))
        return False

    def log(self, shown: str) -> None:
        """Log what was passed over."""
        if self.others:
            more = " ..." if self.others > _NAMES_SHOWN else ""
            what = counted(self.others, "member that is not an image", "members that are not images")
            _log.warning("%s: passed over %s: %s%s", shown, what, ", ".join(self.names), more)

    def nothing(self) -> str:
        """The sentence for an archive without an image."""
        found = f" Found: {', '.join(self.names[:3])}." if self.names else ""
        which = f"no member that {self._members!r} names" if self._members else "no member of the archive"
        return f"{which} is called like an image (.jpg, .png ...).{found} Unpack it if its shards are to be read."


def _cuts(stream: IO[bytes], chosen: _Chosen, unit_size: int) -> tuple[list[tuple[int, int]], int]:
    """(byte of the directory, images before it) where units begin, and at the end; and the number of images."""
    directory: Directory
    directory, found = whole_directory(stream)
    cuts = [(directory.start, 0)]
    count = 0
    for entry, end in found:
        if chosen(entry):
            count += 1
            if count % unit_size == 0:
                cuts.append((end, count))
    if cuts[-1][1] < count or not count:
        cuts.append((directory.stop, count))
    return cuts, count


def _by_directory(unit: Unit, settings: ReadSettings, wanted: Iterator[int] | None) -> Iterator[Record]:
    """The records of a unit that was cut, in order of `index`; `wanted`: only these of them."""
    members, url = look_into(unit.url)
    chosen, limit = _Chosen(members), settings.max_stored_bytes
    following = None if wanted is None else next(wanted, None)
    with open_read(url, unit.version) as stream, closing(stream):
        shift = find_directory(stream).shift
        index = unit.first_index
        for entry, _ in entries(stream, unit.start, unit.stop):
            if not chosen(entry):
                continue
            if wanted is not None:
                while following is not None and following < index:
                    following = next(wanted, None)
                if following is None:
                    return
            if wanted is None or following == index:
                yield _record(stream, entry, shift, index, limit)
            index += 1


def _read_whole(stream: IO[bytes], chosen: _Chosen, limit: int) -> Iterator[Record]:
    """An archive that was not cut: by its directory if that is whole after all, else by the members' own headers."""
    index = 0
    try:
        directory, found = whole_directory(stream)
        for _ in found:
            pass
    except DirectoryError as error:
        for entry, end in scanned(stream):
            if isinstance(entry, Lost):
                yield _lost(entry, index, str(error))
                index += 1
            elif chosen(entry):
                record = _record(stream, entry, 0, index, limit)
                yield record._replace(reached=end) if index % _TELL_EVERY == 0 else record
                index += 1
        if isinstance(error, SplitError):
            yield Record(None, index, None, None, Fault(Status.SHARD_UNREADABLE, f"{error}. The other parts are lost"))
            index += 1
    else:
        for entry, _ in entries(stream, directory.start, directory.stop):
            if chosen(entry):
                yield _record(stream, entry, directory.shift, index, limit)
                index += 1
    if not index:
        yield Record(None, 0, None, None, Fault(Status.SHARD_UNREADABLE, chosen.nothing()))


def _lost(found: Lost, index: int, reason: str) -> Record:
    if found.end is not None:
        message = f"bytes {found.at} to {found.end} belong to no member that can be read; what they held is lost"
        return Record(f"@{found.at}", index, None, None, Fault(Status.CORRUPT, message))
    message = f"{reason}. Behind byte {found.at} no member follows; what the archive held there is lost"
    return Record(None, index, None, None, Fault(Status.SHARD_TRUNCATED, message))


def _record(stream: IO[bytes], entry: Entry, shift: int, index: int, limit: int) -> Record:
    name = entry.name
    if name.isascii() and len(name) <= MAX_LABEL_CHARACTERS:
        key, label = name, parent(name)
    else:
        key = shortened(printable(name), MAX_NAME_CHARACTERS)
        folder = parent(printable(name))
        label = None if folder is None else shortened(folder, MAX_LABEL_CHARACTERS)
    if not is_safe(name) or len(name) > MAX_NAME_CHARACTERS:
        what = "points out of the archive" if not is_safe(name) else f"has more than {MAX_NAME_CHARACTERS} characters"
        fault = Fault(Status.UNSAFE_NAME, f"member {shortened(key, 300)!r} {what}; rename it")
        return Record(key, index, None, None, fault)
    content = member_content(stream, entry, shift, limit)
    origin = _LABEL_FROM if label else ""
    return Record(key, index, label, content.data, content.fault, content.sha256, label_from=origin)
