"""Kept images from blocks of a shard that hold nothing unusual: the only Python step for each record is its sha256."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fiqa_core.curation.subset.kept_rows import KeptRows, sha256_of
from fiqa_core.curation.subset.settings import SubsetSettings
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import Unit


def scanned(unit: Unit, rows: KeptRows, settings: SubsetSettings) -> Iterator[ImageBatch]:
    """The images of rows in order, up to the first block in which not all of them are found as expected.

    If something is wrong there, the reader of records reports it.
    """
    keeps_others = settings.output.keeps_others
    for found in container_of(unit).blocks(unit, settings.read, rows.next_index):
        if not len(found.index):
            continue
        wanted = rows.until(int(found.index[-1]))
        if wanted is None:
            continue
        index = wanted["index"].to_numpy()
        places = np.searchsorted(found.index, index)
        batch = None
        if (found.index[places] == index).all():
            stored = found.stored and found.stored.choose(places)
            batch = ImageBatch(wanted, 0, found.data, found.starts[places], found.sizes[places], None, stored)
        if batch is None or b"".join([hashlib.sha256(view).digest() for view in batch.views()]) != sha256_of(wanted):
            rows.give_back(wanted)
            return
        yield batch if keeps_others else replace(batch, samples=None)
        if rows.next_index() is None:
            return
