"""How long it takes to look up faces by reference, the first time and later, in each format that has no index.

python -m benchmarks.faces_by_reference [--images 12000] [--faces 100]

The files are made of LFW faces, JPEG of about 4 kB. "First" has no cache; "later" is another process's look, with the
places in the cache folder. Where the shard lies is known, as from a run's plan. Times are of the wall clock; the files
are in the page cache.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from fiqa_core.shards import places
from fiqa_core.shards.tfrecord.example import FILENAME, IMAGE, LABEL, serialised
from fiqa_core.shards.tfrecord.framing import framed
from fiqa_core.tables.face_sources import FaceSources
from fiqa_core.tables.faces import read_faces


def main() -> None:
    """Make the files, look faces up, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--faces", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    stored = stored_images(shards(arguments.shards))
    images = [stored[number % len(stored)] for number in range(arguments.images)]
    print(f"{arguments.faces} random faces of {len(images):,}, ms a face\n| format | first | later |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for path in _files(Path(name), images):
            times = [_looked_up(path, images, arguments.faces, number) for number in range(arguments.rounds)]
            first, later = (statistics.median(each) / arguments.faces * 1e3 for each in zip(*times, strict=True))
            print(f"| {path.name} | {first:.3f} | {later:.3f} |", flush=True)


def _files(folder: Path, images: list[bytes]) -> list[Path]:
    tar, record, table = folder / "faces.tar", folder / "faces.tfrecord", folder / "faces.parquet"
    with webdataset.TarWriter(str(tar)) as writer:
        for number, data in enumerate(images):
            writer.write({"__key__": f"{number:06d}", "jpg": data, "cls": b"7"})
    with record.open("wb") as stream:
        for number, data in enumerate(images):
            stream.write(framed(serialised({IMAGE: data, LABEL: number % 99, FILENAME: f"{number}.jpg".encode()})))
    pq.write_table(pa.table({"image": images, "label": range(len(images))}), table, row_group_size=1000)
    return [tar, record, table]


def _looked_up(path: Path, images: list[bytes], count: int, seed: int) -> tuple[float, float]:
    chosen = random.Random(seed).sample(range(len(images)), count)
    rows = [{"shard": str(path), "index": number} for number in chosen]
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ[places.CACHE_VARIABLE] = cache
        for _ in range(2):
            places.forget_places()
            sources = FaceSources()
            sources.find(str(path), 0)
            started = time.perf_counter()
            found = list(read_faces(rows, sources))
            seconds.append(time.perf_counter() - started)
            assert [face.data for face in found] == [images[number] for number in chosen]
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()
