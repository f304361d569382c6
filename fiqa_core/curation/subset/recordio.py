"""InsightFace's RecordIO from images in any order: sorted runs, then one merge; or one pass where they are in order.

The layout wants one file with the images of an identity side by side. So every task writes a run (subset_runs.py).
The merge reads all of them side by side, and writes the one file. No image is shuffled.
"""

import io
import logging
from collections import Counter
from collections.abc import Iterable

import numpy as np
from PIL import Image

from fiqa_core.curation.subset.index import Finished, IndexWriter, finished
from fiqa_core.curation.subset.own_files import clear_work
from fiqa_core.curation.subset.recordio_runs import Packed, merged, packed, run_files
from fiqa_core.curation.subset.settings import DATA, INDEX, SubsetError, SubsetSettings, SubsetTask, place
from fiqa_core.curation.subset.source import kept_batches
from fiqa_core.curation.subset.summary import SubsetSummary
from fiqa_core.shards.recordio.writer import InsightFaceWriter
from fiqa_core.storage import exists, publish, remove, temporary_for

_log = logging.getLogger(__name__)
_WRITE_BYTES = 4 << 20
_NAME = "train"
_USUAL = (112, 112)
_SIZES_SHOWN = 3


def merge_runs(tasks: Iterable[int], output: str, plan: str, images: int, layout: str = "insightface") -> None:
    """Merge the runs of all tasks into `data/train.rec`, unless it lies there; then remove them.

    `layout`: as in the plan's settings.

    Raises:
        SubsetError: a run is not what was written.
    """
    if finished_set(output, plan, images) is None:
        _write_set(merged([run_files(output, number) for number in tasks]), output, plan, images, layout)
    clear_work(output)


def write_grouped(task: SubsetTask, settings: SubsetSettings, output: str) -> SubsetSummary:
    """Write the whole set in one pass, from images that come in order of their numbers."""
    there = finished_set(output, task.plan, task.images)
    if there is not None:
        return SubsetSummary(task.images, there.bytes, 1)
    batches = map(packed, kept_batches(task, settings, output))
    total = _write_set(batches, output, task.plan, task.images, settings.recordio_layout)
    return SubsetSummary(task.images, total, 1, task.images)


def _write_set(batches: Iterable[Packed], output: str, plan: str, images: int, layout: str) -> int:
    """Write and publish the set; its bytes of images. What readers open first (`.idx`) is published last."""
    with (
        temporary_for(output) as rec_path,
        temporary_for(output) as idx_path,
        temporary_for(output) as property_path,
        temporary_for(output) as index_path,
    ):
        sizes: Counter[tuple[int, int]] = Counter()
        with (
            rec_path.open("wb", buffering=_WRITE_BYTES) as rec,
            idx_path.open("wb", buffering=_WRITE_BYTES) as idx,
            property_path.open("wb") as properties,
            IndexWriter(index_path, plan) as index,
            InsightFaceWriter(rec, idx, properties, plain=layout == "plain") as writer,
        ):
            last = -1
            for batch in batches:
                # One image an identity says enough of the usual size, and costs next to nothing.
                for first in np.flatnonzero(np.diff(batch.numbers, prepend=last)).tolist():
                    sizes[_size(batch.record(first))] += 1
                last = int(batch.numbers[-1])
                keys = writer.add_packed(batch.records, batch.offsets, batch.numbers)
                index.add(batch.rows, batch.sizes, f"{DATA}/{_NAME}.rec", list(map(str, keys.tolist())))
            writer.width, writer.height = _most_common(sizes)
        if index.images != images:
            raise SubsetError(f"{images} images were planned, {index.images} came: write the subset again")
        remove(place(output, DATA, f"{_NAME}.idx"))
        publish(index_path, place(output, INDEX, f"{_NAME}.parquet"))
        publish(rec_path, place(output, DATA, f"{_NAME}.rec"))
        publish(property_path, place(output, DATA, "property"))
        publish(idx_path, place(output, DATA, f"{_NAME}.idx"))
    return index.bytes


def _most_common(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    if len(sizes) > 1:
        found = ", ".join(f"{w}x{h}" for (w, h), _ in sizes.most_common(_SIZES_SHOWN))
        _log.warning(
            "the images are of several sizes (%s ...); `property` names the first. Loaders expect one.",
            found,
        )
    return sizes.most_common(1)[0][0] if sizes else _USUAL


def _size(image: bytes) -> tuple[int, int]:
    """(width, height) in pixels, from the header; of what cannot be read the usual one."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return _USUAL


def finished_set(output: str, plan: str, images: int) -> Finished | None:
    """What the index of a set says that lies there whole; None where it has to be written."""
    if not exists(place(output, DATA, f"{_NAME}.idx")):
        return None
    return finished(place(output, INDEX, f"{_NAME}.parquet"), plan, images, place(output, DATA, f"{_NAME}.rec"))
