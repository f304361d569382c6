"""`.bin` verification sets: image i is record i, and pair i is images 2i and 2i+1."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import IO, NamedTuple

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.shards.container import Container
from fiqa_core.shards.insightface_bin.index import Item, Lost, Unfit, Verification, read_index
from fiqa_core.shards.plain_pickle import Blob, PickleError, load_blob
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, open_read
from fiqa_core.wording import counted
from schemas.reasons import Status

_CHUNK = 1 << 20
_ONE_IMAGE = 64 << 10  # bytes a request on a store, where single images are wanted


class Pairs(NamedTuple):
    """The pairs of a verification set.

    Attributes:
        first, second: keys of the images. same: bool, whether they show one person.
    """

    first: list[str]
    second: list[str]
    same: np.ndarray


class PairsError(FiqaError, ValueError):
    """The file has no pairs that can be read; the message says which file, why, and what to do."""


class InsightFaceBin(Container):
    """A unit is a range of the images; key and `index` are the image's number. There are no labels."""

    name = "insightface_bin"
    suffixes = (".bin",)
    label_source = "missing, since a verification set has pairs"

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """Ranges of `unit_size` images. Of the pickle all but the images is read."""
        count = len(_index(file.url, file.version).items)
        for start in range(0, count, unit_size) or [0]:
            stop = min(start + unit_size, count)
            size = file.size * (stop - start) // max(count, 1) if file.size >= 0 else -1
            yield Unit(0, self.name, file.shown, file.url, start, stop, start, stop - start, size, file.version)

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """`index` is the image's number."""
        return replace(unit, start=index, first_index=index) if unit.records >= 0 else unit

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """By the places of the images in the pickle."""
        items = _index(unit.url, unit.version).items
        with open_read(unit.url, unit.version, _ONE_IMAGE) as stream, closing(stream):
            for index in wanted:
                if 0 <= index < len(items):
                    yield _record(stream, items[index], index, settings.max_stored_bytes)

    def reads_in_place(self, unit: Unit) -> bool:  # noqa: ARG002
        """Always, once the pickle's index is read."""
        return True

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record an image; where the pickle is damaged, one for each stretch that is lost."""
        items = _index(unit.url, unit.version).items
        stop = unit.stop if unit.records >= 0 else len(items)
        with open_read(unit.url, unit.version) as stream, closing(stream):
            for index in range(unit.start, min(stop, len(items))):
                yield _record(stream, items[index], index, settings.max_stored_bytes)


def pairs(file: StoredFile) -> Pairs:
    """Which images of a `.bin` are compared, and which pairs show one person.

    Raises:
        PairsError: the pickle is damaged, or has another number of images than two for each pair.
    """
    found = _index(file.url, file.version)
    if found.damage is not None or found.same is None:
        why = found.damage or "it has no list of bools beside its images"
        raise PairsError(f"{file.shown}: its pairs cannot be read: {why}. Get the file again, or name another.")
    count = len(found.same)
    if len(found.items) != 2 * count:
        raise PairsError(
            f"{file.shown}: {counted(len(found.items), 'image')} and {counted(count, 'pair')}, expected two images for "
            "each pair. Get the file again, or name another."
        )
    keys = [str(number) for number in range(2 * count)]
    return Pairs(keys[::2], keys[1::2], found.same)


@lru_cache(maxsize=1)
def _index(url: str, version: str) -> Verification:
    """Made once for all units of a file that a process reads one after the other."""
    with open_read(url, version) as stream, closing(stream):
        return read_index(stream)


def _record(stream: IO[bytes], item: Item, index: int, limit: int) -> Record:
    key = str(index)
    if isinstance(item, Lost):
        if item.end is not None:
            message = f"{item.reason}. What lies between byte {item.at} and {item.end}, where an image begins, is lost"
            return Record(key, index, None, None, Fault(Status.CORRUPT, message))
        status = Status.SHARD_TRUNCATED if item.truncated else Status.SHARD_UNREADABLE
        return Record(None, index, None, None, Fault(status, f"{item.reason}. No image follows"))
    if isinstance(item, Unfit):
        return Record(key, index, None, None, Fault(Status.CORRUPT, f"in place of the image stands {item.what}"))
    if isinstance(item, bytes):
        return Record(key, index, None, item)
    if item.size > limit * (4 if item.coding else 1):
        fault = Fault(Status.TOO_LARGE, f"{item.size} stored bytes; the limit is {limit}")
        return Record(key, index, None, None, fault, None if item.coding else _digest(stream, item))
    try:
        return Record(key, index, None, load_blob(stream, item))
    except PickleError as error:
        return Record(key, index, None, None, Fault(Status.CORRUPT, str(error)))


def _digest(stream: IO[bytes], blob: Blob) -> bytes:
    digest = hashlib.sha256()
    stream.seek(blob.at)
    left = blob.size
    while left and (piece := stream.read(min(_CHUNK, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.digest()
