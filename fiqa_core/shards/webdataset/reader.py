"""WebDataset: tar shards in which the files of one sample share a key and lie next to each other."""

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np

from fiqa_core.shards.container import Container, FoundImages, picked
from fiqa_core.shards.names import MAX_NAME_CHARACTERS, is_litter, printable, shortened
from fiqa_core.shards.places import Block, Places, places_of
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.tar.stream import FOLDER, Gap, TarDamagedError, members, open_tar
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.shards.webdataset.blocks import sample_blocks
from fiqa_core.shards.webdataset.records import OVERLONG, records_of
from fiqa_core.shards.webdataset.sample import MAX_SIDECAR_BYTES, Sample
from fiqa_core.shards.webdataset.writer import WebDatasetShards
from fiqa_core.storage import StoredFile, open_read
from fiqa_core.wording import counted
from schemas.reasons import Status

_log = logging.getLogger(__name__)

_TELL_EVERY = 4  # every fourth record says how far the shard is read: asking the stream costs a microsecond
_MOST_BESIDE = 1 << 20  # bytes of a member's headers and padding
_END = bytes(2 * BLOCK)  # of an archive
_KEYS_COMPARED = 1000  # incomplete samples of a shard that are remembered, to notice files that lie apart


@dataclass
class _LostBytes:
    """Bytes of the archive that are lost, and names of files next to them whose image is lost with them."""

    gap: Gap
    left: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """For the row that stands for them."""
        begin, end, reason = self.gap
        beside = f". Files whose image is lost there: {', '.join(self.left)[:300]}" if self.left else ""
        return (
            f"bytes {begin} to {end} of the archive are lost ({counted(end - begin, 'byte')}, "
            f"an unknown number of records): "
            f"{reason}{beside}"
        )


class WebDataset(Container):
    """A tar is one unit; a record is one image member, its key is the member's name without the suffix."""

    name = "webdataset"
    suffixes = (".tar", ".tar.gz", ".tgz")
    fields_in_records = True
    output = WebDatasetShards()

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """One unit: a tar has no index, so where its members begin is only known by reading it."""
        yield self.whole(file)

    def is_sequential(self, unit: Unit) -> bool:  # noqa: ARG002
        """Always: a tar has no index."""
        return True

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each image member, for each sample without an image, and for each run of lost bytes."""
        scattered = _ScatteredSamples(unit.shard)
        for records, sample in _read(unit, settings, MAX_SIDECAR_BYTES):
            if sample is not None and not (sample.images and sample.sidecars):
                scattered.see(sample)
            yield from records

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """By the places of the members, which are found by one pass and remembered; a `.tar.gz` is read from its
        start, as far as the last of them."""
        places = _places(unit, settings, wanted[-1]) if wanted else None
        if places is None:
            return picked(self, unit, settings, wanted)
        return _in_place(unit, settings, places, wanted)

    def reads_in_place(self, unit: Unit) -> bool:
        """If it is not compressed."""
        return not unit.url.lower().endswith(("gz", ".tgz"))

    def read_samples(self, unit: Unit, settings: ReadSettings) -> Iterator[tuple[Record, Mapping[str, bytes]]]:
        """As `read`, with the other files of each image's sample, whole."""
        return read_samples(unit, settings)

    def blocks(self, unit: Unit, settings: ReadSettings, wanted: Callable[[], int | None]) -> Iterator[FoundImages]:  # noqa: ARG002
        """Samples from the shard's start as far as they are plain."""
        with open_read(unit.url, unit.version) as stream:
            for samples in sample_blocks(stream, settings.max_stored_bytes):
                images = samples.image
                starts, sizes = samples.begin[images] + BLOCK, samples.sizes[images]
                yield FoundImages(samples.data, samples.index, starts, sizes, samples)


def read_samples(unit: Unit, settings: ReadSettings) -> Iterator[tuple[Record, Mapping[str, bytes]]]:
    """As `WebDataset.read`, with the other files of each image's sample, whole, by suffix (lower case).

    Where several images share a key, each gets the files that are named after it and the files named by the key alone.
    """
    warned = False
    for records, sample in _read(unit, settings, settings.max_stored_bytes):
        if sample is None or not sample.images:
            yield from ((record, {}) for record in records)
            continue
        others, stray = sample.others()
        if stray and not warned:
            warned = True
            _log.warning(
                "%s: %r (maybe others) belongs to none of the several images of its sample %r, so it is not copied.",
                printable(unit.shard),
                printable(stray[0]),
                printable(sample.key),
            )
        yield from zip(records, others, strict=True)


def _places(unit: Unit, settings: ReadSettings, last: int) -> Places | None:
    """Where the images of a tar lie, at least up to this record; None if it is compressed."""

    def plain(stream: IO[bytes]) -> Iterator[Block] | None:
        if open_tar(stream) is not stream:
            return None
        return (
            (samples.index, samples.at + samples.begin[samples.image], samples.at + samples.end[samples.image])
            for samples in sample_blocks(stream, settings.max_stored_bytes)
        )

    def any_kind(_: IO[bytes]) -> Iterator[Block]:
        whole = replace(unit, version="")
        for records, sample in _read(whole, settings, 0):
            if sample is not None and sample.images:
                images = [image for _, _, image in sample.images]
                yield (
                    np.array([record.index for record in records]),
                    np.array([image.begin for image in images]),
                    np.array([image.end for image in images]),
                )

    places = places_of(unit.url, "tar, plain", plain)
    if places is None or (len(places.index) and last <= places.index[-1]):
        return places
    return places_of(unit.url, "tar", any_kind)


def _in_place(unit: Unit, settings: ReadSettings, places: Places, wanted: Sequence[int]) -> Iterator[Record]:
    limit = settings.max_stored_bytes
    for index, data in places.read(unit.url, wanted, limit + _MOST_BESIDE):
        if data is None:
            yield Record(None, index, None, None, Fault(Status.TOO_LARGE, f"the limit is {limit} stored bytes"))
            continue
        for part in _parts(io.BytesIO(data + _END), limit, 0):
            if isinstance(part, Sample):
                yield from records_of(part, index, settings)[:1]
                break


def _read(unit: Unit, settings: ReadSettings, sidecar_bytes: int) -> Iterator[tuple[list[Record], Sample | None]]:
    """The records of each sample; the record of lost bytes has no sample. Indices do not depend on the limit."""
    index = 0
    with open_read(unit.url, unit.version) as stream:
        for part in _parts(stream, settings.max_stored_bytes, sidecar_bytes):
            if isinstance(part, Sample):
                records = records_of(part, index, settings)
                if records and not index % _TELL_EVERY:
                    records[-1] = records[-1]._replace(reached=stream.tell())
                index += len(records)
                yield records, part
            else:
                fault = part if isinstance(part, Fault) else Fault(Status.SHARD_UNREADABLE, part.message)
                yield [Record(None, index, None, None, fault)], None
                index += 1


def _parts(stream: IO[bytes], max_bytes: int, sidecar_bytes: int) -> Iterator[Sample | _LostBytes | Fault]:
    """Samples and lost bytes in order; a fault where the rest of the archive is lost.

    The sample at a break is kept as far as it was read, since its image may be whole. If it has no image, its image
    is among the lost bytes, so their row names it.
    """
    before: list[_LostBytes] = []
    try:
        for sample, after in _runs(stream, max_bytes, sidecar_bytes):
            if not before and not after:
                yield sample
                continue
            if not sample.images:
                (after[:1] or before[-1:])[0].left.extend(_listed(sample))
                yield from before
            else:
                sample.damaged |= bool(before or after)
                yield from before
                yield sample
            before = after
    except TarDamagedError as error:
        yield from before
        status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
        yield Fault(status, str(error))
        return
    yield from before


def _listed(sample: Sample) -> list[str]:
    return [printable(name) for name in sorted(sample.names)[:10]]


def _runs(stream: IO[bytes], max_bytes: int, sidecar_bytes: int) -> Iterator[tuple[Sample, list[_LostBytes]]]:
    """Runs of members with the same key, with the bytes that are lost inside them or right behind.

    Raises:
        TarDamagedError: the rest of the archive is lost; the sample before was yielded if it has an image.
    """
    sample = Sample("", sidecar_bytes)
    lost: list[_LostBytes] = []
    damage: TarDamagedError | None = None
    try:
        for member in members(open_tar(stream), max_bytes):
            if isinstance(member, Gap):
                lost.append(_LostBytes(member))
                continue
            name = member.name
            if member.kind is FOLDER:
                continue
            if name[:2] == "./":
                name = _tidy(name)
            if len(name) > MAX_NAME_CHARACTERS:
                name = _short_name(name)
                member = member._replace(name=name, kind=OVERLONG)
            folder, slash, base = name.rpartition("/")
            stem = base.partition(".")[0]
            if not stem and is_litter(base):
                continue
            key = folder + slash + stem
            if key != sample.key or name in sample.names:
                if sample.names or lost:
                    yield sample, lost
                    lost = []
                sample = Sample(key, sidecar_bytes)
            elif sample.full():
                part, sample = sample.split()
                part.damaged |= bool(lost)
                yield part, []
            sample.add(name, member)
    except TarDamagedError as error:
        damage = error
    if damage is None or sample.images or lost:
        if sample.names or lost:
            yield sample, lost
    elif sample.names:
        left = ", ".join(_listed(sample))[:300]
        raise TarDamagedError(f"{damage}. Files whose image is lost there: {left}", damage.truncated)
    if damage is not None:
        raise damage


class _ScatteredSamples:
    """Notices samples whose files do not lie side by side, and warns once a shard."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._seen: dict[str, bool] = {}
        self._warned = False

    def see(self, sample: Sample) -> None:
        """Remember a sample that has images or other files, but not both."""
        has_images = bool(sample.images)
        if self._warned:
            return
        if self._seen.get(sample.key, has_images) == has_images:
            if len(self._seen) < _KEYS_COMPARED:
                self._seen[sample.key] = has_images
            return
        self._warned = True
        _log.warning(
            "%s: the files of sample %r (maybe of others) do not lie next to each other, so an image does not find "
            "its label, and its sidecar files count as a sample without an image. Write the shard again with the "
            "files of a sample side by side (tar --sort=name).",
            printable(self._shard),
            printable(sample.key),
        )


def _tidy(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _short_name(name: str) -> str:
    """A stand-in for a name too long to keep: files of one sample still share it, and keep their suffix."""
    folder, slash, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return shortened(folder + slash + stem, 256) + dot + rest[-64:]
