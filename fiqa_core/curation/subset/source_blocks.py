"""Kept images out of blocks of a tar or a `.rec` that hold nothing unusual: no Python step a record but its sha256."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fiqa_core.curation.subset.kept_rows import KeptRows, sha256_of
from fiqa_core.curation.subset.settings import SubsetSettings
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.recordio.blocks import image_blocks
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.unit import Unit
from fiqa_core.shards.webdataset.blocks import StoredSamples, choose, sample_blocks
from fiqa_core.storage import open_read


class _Found(NamedTuple):
    """Images of a block: `records` has their indices there."""

    data: memoryview
    records: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    samples: StoredSamples | None = None


def scanned(unit: Unit, rows: KeptRows, settings: SubsetSettings) -> Iterator[ImageBatch]:
    """The images of rows in order, up to the first block in which they are not all found as they should be.

    What is wrong there, if anything is, the reader of records will say.
    """
    for found in _blocks(unit, rows, settings):
        if not len(found.records):
            continue
        wanted = rows.until(int(found.records[-1]))
        if wanted is None:
            continue
        index = wanted["index"].to_numpy()
        places = np.searchsorted(found.records, index)
        batch = None
        if (found.records[places] == index).all():
            samples = found.samples and choose(found.samples, places)
            batch = ImageBatch(wanted, 0, found.data, found.starts[places], found.sizes[places], None, samples)
        if batch is None or b"".join([hashlib.sha256(view).digest() for view in batch.views()]) != sha256_of(wanted):
            rows.give_back(wanted)
            return
        yield batch if settings.format == "webdataset" else replace(batch, samples=None)
        if rows.next_index() is None:
            return


def _blocks(unit: Unit, rows: KeptRows, settings: SubsetSettings) -> Iterator[_Found]:
    limit = settings.read.max_stored_bytes
    if unit.container == "webdataset":
        with open_read(unit.url, unit.version) as stream:
            for samples in sample_blocks(stream, limit):
                images = samples.image
                starts, sizes = samples.begin[images] + BLOCK, samples.sizes[images]
                yield _Found(samples.data, samples.index, starts, sizes, samples)
    elif unit.container == "recordio":
        with open_read(unit.url, unit.version) as stream:
            for block in image_blocks(stream, rows.next_index, limit):
                yield _Found(block.data, block.at, block.starts, block.sizes)
