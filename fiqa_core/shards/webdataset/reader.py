"""WebDataset: tar shards in which the files of one sample share a key and lie next to each other."""

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO

import numpy as np

from fiqa_core.shards.container import Container, FoundImages, Surroundings, picked
from fiqa_core.shards.names import printable
from fiqa_core.shards.places import Block, Places, places_of
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.tar.stream import Gap, Member, members, open_tar
from fiqa_core.shards.unit import MAX_STORED_BYTES, Fault, ReadSettings, Record, Unit
from fiqa_core.shards.webdataset.blocks import sample_blocks
from fiqa_core.shards.webdataset.cutting import index_for
from fiqa_core.shards.webdataset.parts import parts
from fiqa_core.shards.webdataset.records import records_of
from fiqa_core.shards.webdataset.sample import MAX_SIDECAR_BYTES, Sample
from fiqa_core.shards.webdataset.tar_index import read_index
from fiqa_core.shards.webdataset.writer import WebDatasetShards
from fiqa_core.storage import StoredFile, open_read
from fiqa_core.storage.reading import BLOCK_BYTES
from schemas.reasons import Status

_log = logging.getLogger(__name__)

_TELL_EVERY = 4  # every fourth record says how far the shard is read: asking the stream costs a microsecond
_ONE_RECORD = 64 << 10  # bytes a request on a store, where single records are wanted
_MOST_BESIDE = 1 << 20  # bytes of a member's headers and padding
_END = bytes(2 * BLOCK)  # of an archive
_KEYS_COMPARED = 1000  # incomplete samples of a shard that are remembered, to notice files that lie apart


class WebDataset(Container):
    """A unit is a range of a tar's bytes with whole samples, or a whole tar; a record is one image member, its key is
    the member's name without the suffix, its `index` the number in the tar.

    The places to cut are found by reading the headers once, and kept beside the plan (`tar_index.py`).
    """

    name = "webdataset"
    suffixes = (".tar", ".tar.gz", ".tgz")
    fields_in_records = True
    listing_in_plan = True
    output = WebDatasetShards()

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """One unit: without a place for an index, a tar cannot be cut."""
        yield self.whole(file)

    def plan_among(
        self, file: StoredFile, unit_size: int, settings: ReadSettings | None, around: Surroundings
    ) -> Iterator[Unit]:
        """Runs of samples with `unit_size` records; `index_for` says which tars stay one unit."""
        limit = MAX_STORED_BYTES if settings is None else settings.max_stored_bytes
        index = index_for(file, unit_size, limit, around)
        if index is None:
            yield self.whole(file)
        else:
            yield from index.units(self.whole(file))

    def is_sequential(self, unit: Unit) -> bool:
        """Where a tar is one unit."""
        return not unit.listing

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """From a place a few records before, which the index knows."""
        return read_index(unit.listing).enter(unit, index) if unit.listing else unit

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each image member, for each sample without an image, and for each run of lost bytes."""
        scattered = _ScatteredSamples(unit.shard)
        for records, sample in _read(unit, settings, MAX_SIDECAR_BYTES):
            if sample is not None and not (sample.images and sample.sidecars):
                scattered.see(sample)
            yield from records

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """By the places of the members, which are found by one pass and remembered. A range is entered near each of
        them, and a `.tar.gz` is read from its start, as far as the last of them."""
        places = _places(unit, settings, wanted[-1]) if wanted and not unit.listing else None
        if places is None:
            return picked(_SMALL_BLOCKS if unit.listing else self, unit, settings, wanted)
        return _in_place(unit, settings, places, wanted)

    def reads_in_place(self, unit: Unit) -> bool:
        """If it is not compressed."""
        return not unit.url.lower().endswith(("gz", ".tgz"))

    def read_samples(self, unit: Unit, settings: ReadSettings) -> Iterator[tuple[Record, Mapping[str, bytes]]]:
        """As `read`, with the other files of each image's sample, whole."""
        return read_samples(unit, settings)

    def blocks(self, unit: Unit, settings: ReadSettings, wanted: Callable[[], int | None]) -> Iterator[FoundImages]:
        """Samples as far as they are plain, from the tar's start or the last known place before the first wanted."""
        first = wanted()
        if unit.listing and first is not None:
            unit = self.enter_at(unit, first)
        stop = None
        if unit.listing:
            index = read_index(unit.listing)
            if index.border(unit.start).attributes:
                return  # global attributes change what the headers say
            stop = unit.stop if unit.stop < index.size else None
        with open_read(unit.url, unit.version) as stream:
            for samples in sample_blocks(stream, settings.max_stored_bytes, unit.start, stop, unit.first_index):
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


class _SmallBlocks(WebDataset):
    """Reads a range for single records: of a store little more is fetched than these."""

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        for records, _ in _read(unit, settings, MAX_SIDECAR_BYTES, _ONE_RECORD):
            yield from records


_SMALL_BLOCKS = _SmallBlocks()


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
        for part in parts(members(io.BytesIO(data + _END), limit), 0):
            if isinstance(part, Sample):
                yield from records_of(part, index, settings)[:1]
                break


def _read(
    unit: Unit, settings: ReadSettings, sidecar_bytes: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[list[Record], Sample | None]]:
    """The records of each sample; the record of lost bytes has no sample. Indices do not depend on the limit."""
    index = unit.first_index
    with open_read(unit.url, unit.version, block_bytes) as stream:
        for part in parts(_members(stream, unit, settings.max_stored_bytes), sidecar_bytes):
            if isinstance(part, Sample):
                records = records_of(part, index, settings)
                if records and not index % _TELL_EVERY:
                    records[-1] = records[-1]._replace(reached=stream.tell() - unit.start)
                index += len(records)
                yield records, part
            else:
                fault = part if isinstance(part, Fault) else Fault(Status.SHARD_UNREADABLE, part.message)
                yield [Record(None, index, None, None, fault)], None
                index += 1


def _members(stream: IO[bytes], unit: Unit, max_bytes: int) -> Iterator[Member | Gap]:
    if not unit.listing:
        return members(open_tar(stream), max_bytes)
    index = read_index(unit.listing)
    border = index.border(unit.start)
    stream.seek(border.offset)
    return members(stream, max_bytes, border, index.stop(unit))


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
