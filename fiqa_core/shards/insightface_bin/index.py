"""Where the images of a `.bin` lie, and which of its pairs are mated.

The file is a pickle of `(images, same)`: 2 * P encoded images, of which 2i and 2i+1 are pair i, and P bools. Images are
bytes, or uint8 arrays in older files. Of a damaged pickle the images up to the damage are known; behind it they are
looked for by what stands in front of one: the instruction for bytes, a length that fits, and an image's first bytes.
"""

import math
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from fiqa_core.shards.plain_pickle import Array, Blob, PickleError, PlainPickle, load_blob
from fiqa_core.wording import counted

_CHUNK = 1 << 20
_BETWEEN = 256  # bytes of instructions that may stand between two images (an array's type and shape)
_LENGTH = 4
_IMAGE = re.compile(rb"[BT](.{4})(?=\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|BM|II\*\0|MM\0\*)", re.DOTALL)
_LONGEST_MATCH = 1 + _LENGTH + 12
_BEHIND = b"\x94qrpteab"  # what may stand behind an image's bytes: it is kept, appended, or a part of an array
_BOOLS = ("b1", "u1", "i1")


class Lost(NamedTuple):
    """A stretch of the file in which images cannot be found. `end` is None where none follows."""

    at: int
    end: int | None
    reason: str
    truncated: bool


class Unfit(NamedTuple):
    """Something that stands in the list of images and is not one."""

    what: str


Item = Blob | bytes | Lost | Unfit


class Verification(NamedTuple):
    """A `.bin` without its images.

    Attributes:
        items: one for each image, in order; where the pickle is damaged, one for each lost stretch too.
        same: bool (pairs), whether images 2i and 2i+1 show one person; None where the file does not say.
        damage: what is wrong with the pickle, None if it is sound.
    """

    items: list[Item]
    same: np.ndarray | None
    damage: str | None


def read_index(stream: IO[bytes]) -> Verification:
    """Where the images lie; none of them is read."""
    pickle = PlainPickle(stream)
    try:
        value = pickle.load()
    except PickleError as error:
        items = [_item(each) for each in pickle.begun()]
        while items and not isinstance(items[-1], Blob):
            items.pop()
        found = items + list(_found_behind(stream, _end(items), error))
        return Verification(found, None, str(error))
    images, same = value, None
    if isinstance(value, tuple | list) and value and isinstance(value[0], list):
        images, same = value[0], value[1] if len(value) > 1 else None
    if not isinstance(images, list):
        reason = f"it holds {_kind(value)}, expected a list of images and a list of bools"
        return Verification([Lost(0, None, reason, False)], None, reason)
    return Verification([_item(each) for each in images], _bools(stream, same), None)


def _item(value: Any) -> Item:
    if isinstance(value, Blob | bytes):
        return value
    if isinstance(value, Array):
        count = math.prod(value.shape) if value.shape else 0
        size = value.data.size if isinstance(value.data, Blob) else len(value.data)
        if value.dtype != "u1":
            return Unfit(f"an array of type {value.dtype[:20]!r}, expected the bytes of an image file (uint8)")
        if isinstance(value.data, bytes) or not value.data.coding:
            if count != size:
                return Unfit(f"an array of {count} values with {size} bytes")
            if sum(each != 1 for each in value.shape) > 1:
                return Unfit(f"an array of shape {value.shape}: pixels, expected the bytes of an image file")
        return value.data
    return Unfit(f"{_kind(value)}, expected the bytes of an image file")


def _kind(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {counted(len(value), 'value')}"
    return {"NoneType": "nothing", "Blob": "bytes", "DType": "a type", "Name": "a name"}.get(
        type(value).__name__, f"a value of type {type(value).__name__}"
    )


def _bools(stream: IO[bytes], value: Any) -> np.ndarray | None:
    if isinstance(value, Array) and value.dtype in _BOOLS:
        data = load_blob(stream, value.data) if isinstance(value.data, Blob) else value.data
        return np.array(np.frombuffer(data, np.uint8), bool)
    if isinstance(value, list | tuple) and all(isinstance(each, int) for each in value):
        return np.array(value, dtype=bool)
    return None


def _end(items: list[Item]) -> int:
    last = items[-1] if items else None
    return last.at + last.size if isinstance(last, Blob) else 0


def _found_behind(stream: IO[bytes], at: int, error: PickleError) -> Iterator[Item]:
    """The images behind byte `at`, and one `Lost` for each stretch in which some may be missing."""
    end = stream.seek(0, 2)
    reason: str | None = str(error)
    for blob in _blobs(stream, at, end):
        if reason is not None or blob.at - at > _BETWEEN:
            what = reason or f"between byte {at} and {blob.at} no image can be read"
            yield Lost(at, blob.at, what, False)
        reason = None
        yield blob
        at = blob.at + blob.size
    if reason is not None or end - at > _BETWEEN:
        yield Lost(at, None, reason or f"behind byte {at} no image can be read", error.truncated)


def _blobs(stream: IO[bytes], at: int, end: int) -> Iterator[Blob]:
    base, data = at, b""
    while at < end:
        match = _IMAGE.search(data, at - base)
        if match is None:
            if base + len(data) >= end:
                return
            # What begins at the end of the piece is looked for again with what follows it.
            base = max(at, base + len(data) - _LONGEST_MATCH)
            stream.seek(base)
            at, data = base, stream.read(_CHUNK)
            if len(data) <= _LONGEST_MATCH and base + len(data) < end:
                return
            continue
        begin, size = base + match.end(1), int.from_bytes(match[1], "little")
        at = base + match.start() + 1
        if begin + size < end:
            stream.seek(begin + size)
            if stream.read(1) in _BEHIND_ONE:
                yield Blob(begin, size)
                at = begin + size
                if at > base + len(data):
                    base, data = at, b""


_BEHIND_ONE = frozenset(_BEHIND[place : place + 1] for place in range(len(_BEHIND)))
