"""TFRecord shards: a record is one tf.train.Example with an image in it."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import IO

import numpy as np

from fiqa_core.images.headers import recognise
from fiqa_core.shards.container import Container, picked
from fiqa_core.shards.places import Block, Places, places_of
from fiqa_core.shards.tar.gzip_members import GunzipFile
from fiqa_core.shards.tfrecord.example import Wanted, parse
from fiqa_core.shards.tfrecord.framing import HEADER
from fiqa_core.shards.tfrecord.records import Lost, Stored, records
from fiqa_core.shards.tfrecord.window import CHUNK, Window
from fiqa_core.shards.tfrecord.writer import TFRecordShards
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, is_local, open_read
from schemas.reasons import Status

_SHARD_NUMBER = re.compile(r"-\d+-of-\d+(?=(?:\.gz)?$)")
_GZIP_MAGIC = b"\x1f\x8b"
_BESIDE_THE_IMAGE = 16 << 20  # bytes of an Example that are not its image
_PLACES_TOLD = 16  # of so many records one says how far the shard is read


class TFRecord(Container):
    """A unit is a run of records, cut where records begin; `index` is a record's number in its shard.

    A shard that is compressed, or that lies in a bucket, is one unit: to find where its records begin is to read it.
    """

    name = "tfrecord"
    suffixes = (".tfrecord", ".tfrecords", ".tfrec", ".tfrecord.gz", ".tfrecords.gz", ".tfrec.gz")
    fields_in_records = True
    has_key_field = True
    output = TFRecordShards()

    def recognises(self, name: str) -> bool:
        """As TensorFlow names shards, the suffix may be followed by their number: `faces.tfrecord-00000-of-00010`."""
        return super().recognises(_SHARD_NUMBER.sub("", name))

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """Runs of `unit_size` records. Only the 12 bytes in front of each are read."""
        if not is_local(file.url) or _is_compressed(file):
            yield self.whole(file)
            return
        with open_read(file.url, file.version) as stream:
            size = stream.seek(0, 2)
            headers = Window(_unbuffered(stream), size, chunk=HEADER.size)
            first = start = number = 0
            for found in records(headers, 0, None, CHUNK, whole=False):
                if number - first == unit_size:
                    yield self._unit(file, start, found.at, first, number)
                    first, start = number, found.at
                number += 1
            if number > first:
                yield self._unit(file, start, size, first, number)
            elif not number:
                yield replace(self.whole(file), records=0)

    def is_sequential(self, unit: Unit) -> bool:
        """Where a shard is one unit, as it is compressed or lies in a bucket."""
        return not unit.stop

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """From the headers of the records before it."""
        if not unit.stop:
            return unit
        with open_read(unit.url, unit.version) as stream:
            size = stream.seek(0, 2)
            headers = Window(_unbuffered(stream), size, chunk=HEADER.size)
            found = records(headers, unit.start, unit.stop, CHUNK, whole=False)
            at = next((each.at for each in islice(found, index - unit.first_index, None)), unit.stop)
        left = unit.first_index + unit.records - index
        return replace(unit, start=at, first_index=index, records=left, size=unit.stop - at)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """By the places of the records, which are found by one pass over their headers and remembered; a compressed
        shard is read from its start, as far as the last of them."""
        places = places_of(unit.url, "tfrecord", _places)
        if places is None:
            return picked(self, unit, settings, wanted)
        return _in_place(unit, settings, places, wanted)

    def reads_in_place(self, unit: Unit) -> bool:
        """If it is not compressed."""
        return not unit.url.lower().endswith("gz")

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each Example, and one for each stretch that is lost."""
        wanted = _wanted(settings)
        limit = settings.max_stored_bytes
        with open_read(unit.url, unit.version) as stream, closing(stream):
            window = _window(stream)
            stop = unit.stop or None
            for index, found in enumerate(
                records(window, unit.start, stop, limit + _BESIDE_THE_IMAGE), unit.first_index
            ):
                record = _lost(found, index) if isinstance(found, Lost) else _record(found, index, wanted, limit)
                if index % _PLACES_TOLD == 0:
                    at = stream.tell() if window.size is None else found.end or window.size
                    record = record._replace(reached=at - unit.start)
                yield record

    def _unit(self, file: StoredFile, start: int, stop: int, first: int, end: int) -> Unit:
        return Unit(0, self.name, file.shown, file.url, start, stop, first, end - first, stop - start, file.version)


def _places(stream: IO[bytes]) -> Iterator[Block] | None:
    """Where every record of a shard lies; None if it is compressed."""
    if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
        return None
    size = stream.seek(0, 2)
    stream.seek(0)
    is_file = hasattr(stream, "raw") and isinstance(stream.raw, io.FileIO)
    window = Window(_unbuffered(stream), size, chunk=HEADER.size) if is_file else Window(stream, size)
    found = list(records(window, 0, None, CHUNK, whole=not is_file))
    begin = np.fromiter((each.at for each in found), np.int64, len(found))
    end = np.fromiter((size if each.end is None else each.end for each in found), np.int64, len(found))
    return iter([(np.arange(len(found)), begin, end)])


def _in_place(unit: Unit, settings: ReadSettings, places: Places, wanted: Sequence[int]) -> Iterator[Record]:
    limit = settings.max_stored_bytes
    for index, data in places.read(unit.url, wanted, limit + _BESIDE_THE_IMAGE):
        if data is None:
            yield Record(str(index), index, None, None, Fault(Status.TOO_LARGE, f"the limit is {limit} stored bytes"))
            continue
        window = Window(io.BytesIO(data), len(data))
        for found in records(window, 0, 1, limit + _BESIDE_THE_IMAGE):
            yield _lost(found, index) if isinstance(found, Lost) else _record(found, index, _wanted(settings), limit)
            break


def _wanted(settings: ReadSettings) -> Wanted:
    wanted = Wanted()
    if settings.image_field:
        wanted = wanted._replace(image=(settings.image_field,))
    if settings.label_field:
        wanted = wanted._replace(label=(settings.label_field,))
    if settings.key_field:
        wanted = wanted._replace(key=(settings.key_field,))
    return wanted


def _record(found: Stored, index: int, wanted: Wanted, limit: int) -> Record:
    if found.data is None:
        fault = Fault(Status.TOO_LARGE, f"a record of {found.size} bytes; the limit for an image is {limit}")
        return Record(str(index), index, None, None, fault)
    face = parse(found.data, wanted)
    if found.damage is not None:
        key, label = (str(index), None) if face is None or face.key is None else (face.key, face.label)
        return Record(key, index, label, None, Fault(Status.CORRUPT, found.damage))
    if face is None:
        if recognise(found.data) is not None and found.size <= limit:
            return Record(str(index), index, None, found.data, note="the record is an image without an Example")
        fault = Fault(Status.CORRUPT, f"{found.size} bytes that are not a tf.train.Example, though their checksum fits")
        return Record(str(index), index, None, None, fault)
    key = face.key or str(index)
    if face.image is None:
        fault = Fault(Status.MISSING_IMAGE, face.fault)
        return Record(key, index, face.label, None, fault, label_from=face.label_from)
    if len(face.image) > limit:
        fault = Fault(Status.TOO_LARGE, f"{len(face.image)} stored bytes; the limit is {limit}")
        return Record(key, index, face.label, None, fault, label_from=face.label_from)
    return Record(key, index, face.label, face.image, None, None, face.note, face.label_from)


def _lost(found: Lost, index: int) -> Record:
    if found.end is not None:
        message = f"{found.reason}. What lies before byte {found.end}, where a record begins again, is lost"
        return Record(f"@{found.at}", index, None, None, Fault(Status.CORRUPT, message))
    status = Status.SHARD_TRUNCATED if found.truncated else Status.SHARD_UNREADABLE
    return Record(None, index, None, None, Fault(status, f"{found.reason}. No record follows"))


def _window(stream: IO[bytes]) -> Window:
    size = stream.seek(0, 2)
    stream.seek(0)
    magic = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    if magic != _GZIP_MAGIC:
        return Window(stream, size)
    gunzip = GunzipFile(stream)
    return Window(io.BufferedReader(gunzip, CHUNK), None, gunzip)


def _is_compressed(file: StoredFile) -> bool:
    with open_read(file.url, file.version) as stream:
        return stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC


def _unbuffered(stream: IO[bytes]) -> IO[bytes]:
    """The file below its buffer: of records that are read by their headers alone, most bytes are never wanted."""
    raw: IO[bytes] = getattr(stream, "raw", stream)
    raw.seek(0)
    return raw
