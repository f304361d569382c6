"""InsightFace's RecordIO from images in any order: sorted runs, then one merge; or one pass where they are in order.

The layout wants one file with the images of an identity side by side. So every task writes a run: its images in
blocks of bounded size, each block in order of (number, position). The merge reads all blocks side by side, each from
its start to its end, and writes the one file. No image is held longer than its block is, and none is shuffled.
"""

import heapq
import io
import logging
import resource
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fiqa_core.curation.subset import DATA, INDEX, WORK, SubsetError, SubsetSettings, SubsetTask, place
from fiqa_core.curation.subset_index import Finished, IndexWriter, finished
from fiqa_core.curation.subset_source import KeptRow, kept_images
from fiqa_core.curation.subset_summary import SubsetSummary
from fiqa_core.shards.recordio_write import InsightFaceWriter
from fiqa_core.storage import exists, open_read, publish, remove, temporary_for

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 256 << 20
_WRITE_BYTES = 4 << 20
_NAME = "train"
_USUAL = (112, 112)
_SIZES_SHOWN = 3

_RUN = pa.schema(
    [("block", pa.int32()), ("position", pa.int64()), ("bytes", pa.int64())]
    + [(name, kind) for name, kind in (("key", pa.string()), ("shard", pa.string()), ("index", pa.int64()))]
    + [("label", pa.string()), ("quality", pa.float32()), ("tier", pa.string()), ("weight", pa.float32())]
    + [("sha256", pa.binary(32)), ("number", pa.int32())]
)
_PLAN = b"plan"
Placed = tuple[int, int, KeptRow, bytes]  # number, position, row, image


def write_run(task: SubsetTask, settings: SubsetSettings, output: str) -> SubsetSummary:
    """Write a task's sorted run, unless it or the finished set lies there."""
    rec, listing = _run_files(output, task.number)
    there = finished(listing, task.plan, task.images, rec)
    if there is not None:
        return SubsetSummary(task.images, there.bytes, 1)
    total = 0
    with temporary_for(output) as data_path, temporary_for(output) as listing_path:
        schema = _RUN.with_metadata({_PLAN: task.plan.encode()})
        with data_path.open("wb", buffering=_WRITE_BYTES) as data, pq.ParquetWriter(listing_path, schema) as rows:
            for number, block in enumerate(_blocks(kept_images(task, settings, output))):
                rows.write_table(_block_table(number, block, schema))
                for _, _, _, image in block:
                    data.write(image)
                    total += len(image)
        publish(data_path, rec)
        publish(listing_path, listing)
    return SubsetSummary(task.images, total, 1, task.images)


def merge_runs(tasks: Iterable[int], output: str, plan: str, images: int) -> None:
    """Merge the runs of all tasks into `data/train.rec`, unless it lies there; then remove them.

    Raises:
        SubsetError: a run is not what was written.
    """
    if finished_set(output, plan, images) is None:
        runs = [_run_files(output, number) for number in tasks]
        # Two open files a block, and terabytes have thousands of blocks.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _write_set(heapq.merge(*_open_blocks(runs), key=lambda one: one[:2]), output, plan, images)
    remove(place(output, WORK))


def write_grouped(task: SubsetTask, settings: SubsetSettings, output: str) -> SubsetSummary:
    """Write the whole set in one pass, from images that come in order of their numbers."""
    there = finished_set(output, task.plan, task.images)
    if there is not None:
        return SubsetSummary(task.images, there.bytes, 1)
    placed = ((row.number or 0, image.position, row, image.data) for row, image in kept_images(task, settings, output))
    total = _write_set(placed, output, task.plan, task.images)
    return SubsetSummary(task.images, total, 1, task.images)


def _write_set(placed: Iterable[Placed], output: str, plan: str, images: int) -> int:
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
            InsightFaceWriter(rec, idx, properties) as writer,
        ):
            last = -1
            for number, _, row, image in placed:
                if number != last:
                    # One image an identity says enough of the usual size, and costs next to nothing.
                    sizes[_size(image)] += 1
                    last = number
                key = writer.add(number, image)
                index.add(row, len(image), f"{DATA}/{_NAME}.rec", str(key))
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


def _blocks(images: Iterator[tuple[KeptRow, Any]]) -> Iterator[list[Placed]]:
    block: list[Placed] = []
    size = 0
    for row, image in images:
        block.append((int(row.number or 0), image.position, row, image.data))
        size += len(image.data)
        if size >= _BLOCK_BYTES:
            yield sorted(block, key=lambda one: one[:2])
            block, size = [], 0
    if block:
        yield sorted(block, key=lambda one: one[:2])


def _block_table(number: int, block: list[Placed], schema: pa.Schema) -> pa.Table:
    columns = {
        "block": [number] * len(block),
        "position": [position for _, position, _, _ in block],
        "bytes": [len(data) for _, _, _, data in block],
    }
    rows = [row._asdict() for _, _, row, _ in block]
    columns |= {name: [row[name] for row in rows] for name in schema.names[3:]}
    return pa.table(columns, schema=schema)


def _open_blocks(runs: list[tuple[str, str]]) -> Iterator[Iterator[Placed]]:
    for rec, listing in runs:
        with open_read(listing) as stream:
            file = pq.ParquetFile(stream)
            table = file.read(columns=["block", "bytes"])
        blocks = table["block"].to_numpy()
        ends = np.cumsum(table["bytes"].to_numpy())
        starts = ends - table["bytes"].to_numpy()
        for block in np.unique(blocks):
            first = int(np.searchsorted(blocks, block))
            last = int(np.searchsorted(blocks, block, "right"))
            yield _read_block(rec, listing, first, last, int(starts[first]))


def _read_block(rec: str, listing: str, first: int, last: int, start: int) -> Iterator[Placed]:
    """The images of one block; its rows are read a few thousand at a time."""
    with open_read(listing) as rows, _open_at(rec, start) as data:
        place_in_file = 0
        for batch in pq.ParquetFile(rows).iter_batches(2048):
            begin, end = max(first, place_in_file), min(last, place_in_file + batch.num_rows)
            if begin < end:
                for row in batch.slice(begin - place_in_file, end - begin).to_pylist():
                    image = data.read(row["bytes"])
                    if len(image) != row["bytes"]:
                        raise SubsetError(f"{rec}: ends too early. Remove it and run again with --resume.")
                    yield row["number"], row["position"], KeptRow(*(row[name] for name in KeptRow._fields)), image
            place_in_file += batch.num_rows
            if place_in_file >= last:
                return


def _open_at(url: str, start: int) -> IO[bytes]:
    stream = open_read(url)
    stream.seek(start)
    return stream


def _run_files(output: str, number: int) -> tuple[str, str]:
    return place(output, WORK, f"run-{number:06d}.bin"), place(output, WORK, f"run-{number:06d}.parquet")


def finished_set(output: str, plan: str, images: int) -> Finished | None:
    """What the index of a set says that lies there whole; None where it has to be written."""
    if not exists(place(output, DATA, f"{_NAME}.idx")):
        return None
    return finished(place(output, INDEX, f"{_NAME}.parquet"), plan, images, place(output, DATA, f"{_NAME}.rec"))
