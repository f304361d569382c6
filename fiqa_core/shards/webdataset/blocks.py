"""Samples of a plain WebDataset tar a few megabytes at a time, without a Python step for each member.

`reader.py` defines what a sample is. This module takes only samples that both must read alike: plain members
(`tar/scan.py`) with names of one dot, no suffix in capitals, one image a sample. It stops before the first thing that
is anything else; the caller goes on with `reader.py`, which counts records the same way.
"""

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from fiqa_core.shards.names import IMAGE_SUFFIXES
from fiqa_core.shards.output_names import PLAIN_KEY
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.tar.scan import PlainMembers, scan
from fiqa_core.shards.tar.stream import open_tar

_READ = 4 << 20
_MOST = 64 << 20  # a larger sample is left to reader.py
_MOST_MEMBERS = 64
_ZEROS = 64 << 10
_NAMES = re.compile(rf"(?m)^({PLAIN_KEY})\.([a-z0-9_]+)\n")
IMAGE, LABEL, OTHER = range(3)


@dataclass(frozen=True)
class StoredSamples:
    """Consecutive samples as they are stored in a tar.

    Attributes:
        data: the block of the tar. keys: of the samples. index: int64, of their images' records (one image a sample).
        first: int64 (samples + 1), places of their members. image: int64, the place of the image among all members.
        begin, end: int64 (members), header to end of padding. sizes: int64 (members), bytes of content.
        roles: int8 (members), IMAGE, LABEL (`.cls`) or OTHER. suffixes: of the members, lower case.
        at: byte of the archive where `data` begins.
    """

    data: memoryview
    keys: list[str]
    index: np.ndarray
    first: np.ndarray
    image: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    sizes: np.ndarray
    roles: np.ndarray
    suffixes: list[str]
    at: int = 0

    def content(self, member: int) -> memoryview:
        """The bytes of a member."""
        start = int(self.begin[member]) + BLOCK
        return self.data[start : start + int(self.sizes[member])]

    def choose(self, places: np.ndarray) -> "StoredSamples":
        """The samples at these places (int64, ascending)."""
        if len(places) == len(self.keys):
            return self
        return _chosen(self, places, self.image[places], self.index[places])

    def others(self, place: int) -> dict[str, bytes]:
        """The other members of a sample, by suffix."""
        members = range(int(self.first[place]), int(self.first[place + 1]))
        image = int(self.image[place])
        return {self.suffixes[member]: bytes(self.content(member)) for member in members if member != image}


def sample_blocks(
    stream: IO[bytes], limit: int, start: int = 0, stop: int | None = None, index: int = 0
) -> Iterator[StoredSamples]:
    """The samples with an image, up to the first thing that is not plain.

    Args:
        limit: most bytes of a member.
        start, stop: bytes of the archive where samples begin; None: its end. index: of the first record.
    """
    if open_tar(stream) is not stream:
        return
    stream.seek(start)
    left = memoryview(b"")
    wanted, at = _READ, start
    while wanted <= _MOST:
        most = wanted if stop is None else min(wanted, stop - stream.tell() + len(left))
        data = _filled(stream, left, most)
        last = len(data) < wanted
        found = scan(np.frombuffer(data, np.uint8))
        samples = _grouped(data, found, index, limit, at)
        if samples is None:
            return
        # A pax header of the sample behind `stop` may be left over.
        left_over = len(data) - found.done
        complete_part = stop is not None and stream.tell() >= stop and not found.stopped and left_over <= 2 * BLOCK
        if complete_part or (found.stopped and stop is None and _only_zeros(data[found.done :], stream)):
            ends = len(samples.first) - 1
        else:
            # The next members may belong to the last sample.
            ends = max(len(samples.first) - 2, 0)
        done = int(samples.end[samples.first[ends] - 1]) if ends else 0 if len(samples.end) else found.done
        complete, records = _with_images(samples, ends)
        if complete is None:
            return
        if len(complete.keys):
            yield complete
        index += records
        if found.stopped or last:
            return
        left = data[done:]
        at += done
        wanted = max(_READ, 2 * len(left))


def _filled(stream: IO[bytes], left: memoryview, wanted: int) -> memoryview:
    """`left` and the bytes that follow: `wanted` in all, fewer only at the stream's end."""
    data = np.empty(wanted, np.uint8)
    view = data.data
    view[: len(left)] = left
    size = len(left)
    while size < wanted:
        chunk = stream.readinto(view[size:])  # type: ignore[attr-defined]
        if not chunk:
            break
        size += chunk
    return view[:size]


def _only_zeros(data: memoryview, stream: IO[bytes]) -> bool:
    """Whether only zeros follow up to the archive's end."""
    chunk = bytes(data)
    while not chunk.strip(b"\0"):
        chunk = stream.read(_ZEROS)
        if not chunk:
            return bool(len(data))
    return False


def _grouped(data: memoryview, found: PlainMembers, index: int, limit: int, at: int) -> StoredSamples | None:
    """Members grouped by key (`index` and `image` are filled in later); None if names or sizes are not plain."""
    if len(found.names) and int(found.sizes.max()) > limit:
        return None
    try:
        text = b"\n".join([*found.names, b""]).decode()
    except UnicodeDecodeError:
        return None
    names = _NAMES.findall(text)
    if len(names) != len(found.names) or text.count("\n") != len(names) or len(set(names)) != len(names):
        return None
    keys = [key for key, _ in names]
    suffixes = [suffix for _, suffix in names]
    roles = {suffix: IMAGE if suffix in IMAGE_SUFFIXES else LABEL if suffix == "cls" else OTHER for suffix in suffixes}
    changes = np.fromiter(map(operator.ne, keys, [None, *keys[:-1]]), bool, len(keys))
    first = np.flatnonzero(changes)
    return StoredSamples(
        data,
        [keys[place] for place in first.tolist()],
        np.full(len(first), index, np.int64),
        np.append(first, len(keys)),
        first,
        found.begin,
        found.end,
        found.sizes,
        np.fromiter(map(roles.__getitem__, suffixes), np.int8, len(suffixes)),
        suffixes,
        at,
    )


def _with_images(samples: StoredSamples, ends: int) -> tuple[StoredSamples | None, int]:
    """Those of the first `ends` samples that have an image, and the number of records of all; None if a sample has
    several images."""
    if not ends:
        return _chosen(samples, np.zeros(0, np.int64), samples.image[:0], samples.index[:0]), 0
    first = samples.first[: ends + 1]
    images = np.add.reduceat((samples.roles[: first[-1]] == IMAGE).astype(np.int64), first[:-1])
    if images.max() > 1 or np.diff(first).max() > _MOST_MEMBERS:
        return None, 0
    chosen = np.flatnonzero(images)
    # A sample without an image is a record too.
    place = np.flatnonzero(samples.roles[: first[-1]] == IMAGE)
    return _chosen(samples, chosen, place, samples.index[chosen] + chosen), ends


def _chosen(samples: StoredSamples, chosen: np.ndarray, image: np.ndarray, index: np.ndarray) -> StoredSamples:
    counts = np.diff(samples.first)[chosen]
    first = np.concatenate(([0], np.cumsum(counts)))
    members = np.repeat(samples.first[chosen] - first[:-1], counts) + np.arange(first[-1])
    at = np.searchsorted(members, image)
    return StoredSamples(
        samples.data,
        [samples.keys[place] for place in chosen.tolist()],
        index,
        first,
        at,
        samples.begin[members],
        samples.end[members],
        samples.sizes[members],
        samples.roles[members],
        [samples.suffixes[member] for member in members.tolist()],
        samples.at,
    )
