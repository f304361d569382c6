"""A container format that the product does not have, in one file, as a new format would come."""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.container import Container
from fiqa_core.shards.output import ShardOutput, ShardWriter
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, open_read
from schemas.reasons import Status

_HEADER = struct.Struct("<4sHHI")  # magic, bytes of key, of label, of image
_MAGIC = b"TOY1"


class ToyWriter:
    """Records one behind the other."""

    def __init__(self, stream: IO[bytes], dense: bool) -> None:
        self._stream, self._dense = stream, dense

    def add_batch(self, batch: ImageBatch) -> list[str]:
        keys = []
        for image in batch.images():
            label = image.label_text or ""
            self._stream.write(packed(image.key, label, image.data))
            keys.append(image.key)
        return keys

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class ToyOutput(ShardOutput):
    suffix = ".toy"

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        return ToyWriter(stream, dense)


class Toy(Container):
    """Length-prefixed records; a unit is a range of bytes, `index` is the number of a record in its shard."""

    name = "toy"
    suffixes = (".toy",)
    companions = (".toyindex",)
    label_source = "the records' own labels"
    output = ToyOutput()

    def __init__(self, entered: Callable[[int], None] = lambda _: None) -> None:
        self._entered = entered

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        with open_read(file.url, file.version) as stream:
            places = list(_places(stream))
        for first in range(0, len(places), unit_size):
            some = places[first : first + unit_size]
            start, stop = some[0], [*places, file.size][first + len(some)]
            yield Unit(
                0,
                self.name,
                file.shown,
                file.url,
                start,
                stop,
                first,
                len(some),
                stop - start,
                file.version,
            )

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        with open_read(unit.url, unit.version) as stream:
            stream.seek(unit.start)
            for index in range(unit.first_index, unit.first_index + unit.records):
                _, key_size, label_size, size = _HEADER.unpack(stream.read(_HEADER.size))
                key, label = stream.read(key_size).decode(), stream.read(label_size).decode() or None
                data = stream.read(size)
                fault = Fault(Status.TOO_LARGE, "large") if size > settings.max_stored_bytes else None
                yield Record(key, index, label, None if fault else data, fault, label_from="records")

    def enter_at(self, unit: Unit, index: int) -> Unit:
        self._entered(index)
        with open_read(unit.url) as stream:
            start = list(_places(stream))[index]
        return replace(unit, start=start, first_index=index, records=unit.first_index + unit.records - index)


class BareToy(Container):
    """The least that a format can be: name, plan, read."""

    name = "bare"
    suffixes = (".bare",)

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        yield self.whole(file)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        with open_read(unit.url, unit.version) as stream:
            for index, (key, label, data) in enumerate(unpacked(stream.read())):
                yield Record(key, index, label, data)


def packed(key: str, label: str, data: bytes) -> bytes:
    """One record."""
    return _HEADER.pack(_MAGIC, len(key.encode()), len(label.encode()), len(data)) + f"{key}{label}".encode() + data


def unpacked(data: bytes) -> Iterator[tuple[str, str | None, bytes]]:
    """(key, label, image) of every record."""
    at = 0
    while at < len(data):
        magic, *sizes = _HEADER.unpack_from(data, at)
        assert magic == _MAGIC
        parts, at = [], at + _HEADER.size
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        yield parts[0].decode(), parts[1].decode() or None, parts[2]


def write_toy(path: Path, records: Iterable[tuple[str, str, bytes]]) -> Path:
    """A shard of (key, label, image)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(packed(*record) for record in records))
    return path


def _places(stream: IO[bytes]) -> Iterator[int]:
    at, size = 0, stream.seek(0, 2)
    while at < size:
        yield at
        stream.seek(at)
        at += _HEADER.size + sum(_HEADER.unpack(stream.read(_HEADER.size))[1:])
