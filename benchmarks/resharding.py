"""(j) Rate of writing a subset over that of `cp` of the same bytes.

python -m benchmarks.resharding [--shards FOLDER] [--gigabytes 2] [--bytes 4000 20000] [--processes 1 2] [--rounds 3]

Every image is kept, so the subset has the bytes of its source. Both sides read the same files (from a warm page cache)
and write to the same disk, and both end with `sync`; they take turns, and the best of each counts. A folder is held
against `cp -r` of that folder. The subset's time is that of planning, writing and merging in this process (or in
several), without Beam's start.
"""

import argparse
import functools
import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from fiqa_core.curation.subset.plan import plan_subset
from fiqa_core.curation.subset.report import finish, read_report
from fiqa_core.curation.subset.settings import SubsetSettings
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.output_image import OutputImage
from fiqa_core.shards.recordio.writer import InsightFaceWriter
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.shards.webdataset.writer import TarWriter
from fiqa_core.tables.quality_files import TableFile
from schemas.decisions import SCHEMA

CASES = (("webdataset", "webdataset"), ("recordio", "recordio"), ("webdataset", "recordio"), ("webdataset", "folder"))


def main() -> None:
    """Make the sources, measure each case in turn with `cp`, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--bytes", type=int, nargs="+", default=[4000, 20000], help="of an image, about")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    faces = stored_images(shards(arguments.shards), 2000)
    numbers = [f"{count} processes" for count in arguments.processes]
    print(f"{os.cpu_count()} cores, {arguments.gigabytes} GB, best of {arguments.rounds}; MB/s (over cp)\n")
    print("| bytes | from | to | cp |", " | ".join(numbers), "|\n|---|---|---|---|" + "---|" * len(numbers), flush=True)
    for size in arguments.bytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            measure(Path(name), resized(faces, size), arguments)


def measure(root: Path, images: list[bytes], arguments: argparse.Namespace) -> None:
    """All cases with images of one size."""
    mean = sum(map(len, images)) / len(images)
    count = int(arguments.gigabytes * 1e9 / mean)
    sources = {
        "webdataset": write_tars(root / "tars", images, count),
        "recordio": write_rec(root / "rec", images, count),
    }
    decisions = {kind: decide(source, root / f"decisions-{kind}") for kind, source in sources.items()}
    for source, target in CASES:
        out = root / "out"
        times = []
        for _ in range(arguments.rounds):
            own = [subset(*decisions[source], target, out, processes, keep=True) for processes in arguments.processes]
            copied = out / "subset" / "data" if target == "folder" else sources[source]
            times.append((copy(copied, root / "copy"), *own))
        size = sum(path.stat().st_size for path in sources[source].iterdir())
        plain, *best = (min(column) for column in zip(*times, strict=True))
        cells = [f"{size / seconds / 1e6:.0f} ({plain / seconds:.2f})" for seconds in best]
        print(f"| {mean:.0f} | {source} | {target} | {size / plain / 1e6:.0f} |", " | ".join(cells), "|", flush=True)
        shutil.rmtree(out)


def resized(images: list[bytes], size: int) -> list[bytes]:
    """The same faces, larger, so that a JPEG has about `size` bytes."""
    mean = sum(map(len, images)) / len(images)
    if size < 1.25 * mean:
        return images
    found = []
    for data in images[:200]:
        side = round(112 * (size / mean) ** 0.75)
        stream = io.BytesIO()
        Image.open(io.BytesIO(data)).resize((side, side)).save(stream, "JPEG", quality=92)
        found.append(stream.getvalue())
    return found


def write_tars(folder: Path, images: list[bytes], count: int) -> Path:
    """Shuffled tars of 10,000 with labels."""
    folder.mkdir()
    for first in range(0, count, 10_000):
        with (folder / f"s-{first // 10_000:05d}.tar").open("wb", buffering=1 << 22) as stream:
            writer = TarWriter(stream, False)
            for number in range(first, min(first + 10_000, count)):
                label = str(number * 7919 % 1009)
                image = images[number % len(images)]
                writer.add(OutputImage(number, f"{number:08d}", label, None, image, {}, 0.5, "A", 1.0))
            writer.close()
    return folder


def write_rec(folder: Path, images: list[bytes], count: int) -> Path:
    """InsightFace's layout."""
    folder.mkdir()
    with (
        (folder / "train.rec").open("wb", buffering=1 << 22) as rec,
        (folder / "train.idx").open("wb") as idx,
        (folder / "property").open("wb") as properties,
        InsightFaceWriter(rec, idx, properties) as writer,
    ):
        for number in range(count):
            writer.add(number * 1009 // count, images[number % len(images)])
    return folder


def decide(source: Path, folder: Path) -> tuple[list[TableFile], Path]:
    """Decisions that keep every image; as scoring would have found them."""
    folder.mkdir()
    files = [str(path) for path in sorted(source.iterdir()) if path.suffix in (".tar", ".rec")]
    parts = []
    for unit in plan_dataset(files, "auto", 10_000, str(folder / "plan")).units:
        records = [r for r in container_of(unit).read(unit, ReadSettings()) if r.data is not None]
        columns = {name: [None] * len(records) for name in SCHEMA.names}
        columns |= {
            "key": [r.key for r in records],
            "shard": [unit.shard] * len(records),
            "index": [r.index for r in records],
            "label": [r.label for r in records],
            "quality": [0.5] * len(records),
            "status": ["scored"] * len(records),
            "sha256": [hashlib.sha256(r.data or b"").digest() for r in records],
            "keep": [True] * len(records),
            "tier": ["A"] * len(records),
            "weight": [1.0] * len(records),
        }
        pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"part-{unit.number:06d}.parquet")
        parts.append(
            TableFile(unit.number, str(folder / f"part-{unit.number:06d}.parquet"), 0, len(records), (), 0, unit)
        )
    return parts, folder


def copy(source: Path, target: Path) -> float:
    """Seconds of `cp -r` and `sync`."""
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    started = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    os.sync()
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def subset(
    parts: list[TableFile], decisions: Path, kind: str, output: Path, processes: int, keep: bool = False
) -> float:
    """Seconds of the subset and `sync`."""
    shutil.rmtree(output, ignore_errors=True)
    os.sync()
    started = time.perf_counter()
    plan = plan_subset(parts, str(decisions), SubsetSettings(kind), str(output))
    work = functools.partial(write_task, settings=plan.settings, output=str(output), grouped=plan.grouped)
    if processes > 1:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            done = pool.map(work, plan.tasks, chunksize=1)
    else:
        done = list(map(work, plan.tasks))
    finish(functools.reduce(merge, done, SubsetSummary()), plan.brief(), str(output))
    os.sync()
    seconds = time.perf_counter() - started
    report = read_report(str(output))
    assert report["complete"], report
    if not keep:
        shutil.rmtree(output)
    return seconds


if __name__ == "__main__":
    main()
