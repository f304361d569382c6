"""Records of a `.rec` file a few megabytes at a time, without a Python step for each.

`scan.py` defines where a record begins. This module takes only blocks that both must read alike: the magic number
stands where parts begin, each right behind the one before, and nowhere else. It stops before anything else; the caller
goes on with `reader.py`, which can begin at every record.
"""

from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import numpy as np

from fiqa_core.shards.recordio.format import IMAGE_HEADER, LABEL, MAGIC, MAX_PART_BYTES, PART_HEADER, WHOLE

_READ = 4 << 20
_MOST = 64 << 20  # a larger record is left to reader.py


class ImageBlock(NamedTuple):
    """Images of records that have one part.

    Attributes:
        data: bytes of the file. at: int64, where each record begins in the file, in bytes.
        starts, sizes: int64, where each image lies in `data`, in bytes.
    """

    data: memoryview
    at: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray


def image_blocks(stream: IO[bytes], wanted: Callable[[], int | None], limit: int) -> Iterator[ImageBlock]:
    """Consecutive blocks, beginning with the record at byte `wanted()`.

    Args:
        wanted: called before every block; returns where the next record that is needed begins, None if none is.
        limit: most bytes of an image.
    """
    base, size = 0, _READ
    while size <= _MOST:
        needed = wanted()
        if needed is None:
            return
        base = max(base, needed)
        stream.seek(base)
        data = stream.read(size)
        last = len(data) < size
        parts = _parts(data, last)
        if parts is None:
            return
        at, lengths, kinds, done = parts
        yield _images(data, base, at, lengths, kinds, limit)
        if last:
            return
        base += done
        size = _READ if done else size * 2


def _parts(data: bytes, last: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int] | None:
    """Where the parts of a block begin, their lengths and kinds, and where the first incomplete part begins, all in
    bytes of the block; None if anything is unusual."""
    words = np.frombuffer(data, "<u4", len(data) // 4)
    at = np.flatnonzero(words == MAGIC)
    at = at[at < len(words) - 1]
    if not len(at) or at[0] != 0:
        return None
    values = words[at + 1]
    lengths = (values & MAX_PART_BYTES).astype(np.int64)
    kinds = values >> 29
    at = at.astype(np.int64) * 4
    ends = at + PART_HEADER.size + -(-lengths // 4) * 4
    if (ends[:-1] != at[1:]).any():
        return None
    if last:
        return (at, lengths, kinds, len(data)) if ends[-1] == len(data) else None
    # The last part may be cut off, and what follows it is not in this block.
    return at[:-1], lengths[:-1], kinds[:-1], int(at[-1])


def _images(data: bytes, base: int, at: np.ndarray, lengths: np.ndarray, kinds: np.ndarray, limit: int) -> ImageBlock:
    good = (kinds == WHOLE) & (lengths >= IMAGE_HEADER.size)
    at, lengths = at[good], lengths[good]
    words = np.frombuffer(data, "<u4", len(data) // 4)
    # The first field of the image header: how many labels follow it.
    flags = words[(at + PART_HEADER.size) // 4].astype(np.int64)
    headers = IMAGE_HEADER.size + LABEL.size * flags
    sizes = lengths - headers
    good = (sizes > 0) & (sizes <= limit)
    return ImageBlock(memoryview(data), at[good] + base, (at + PART_HEADER.size + headers)[good], sizes[good])
