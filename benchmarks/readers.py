"""Each reader against the package that people use for its format, on the same file, by turns, in one run.

python -m benchmarks.readers [--images 20000] [--rounds 5]

The files are made of LFW faces, JPEG of about 4 kB. Every reader gives the
stored bytes, the key and the label of each image; nothing is decoded. Times are
those of the processor. The peers: `lmdb` and `pickle` (keys, labels and
values as ViT-FIQA's loader reads them), `tfrecord` (which checks no checksums; ours checks all), `pickle.load`,
`zipfile`, pandas with `open` for lists, and `datasets.load_from_disk` without decoding.
"""

import argparse
import pickle
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import lmdb
import numpy as np
import pandas as pd
from tfrecord.reader import tfrecord_loader

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from fiqa_core.shards.arrow_ipc.reader import Arrow
from fiqa_core.shards.container import Container
from fiqa_core.shards.insightface_bin.reader import InsightFaceBin
from fiqa_core.shards.lmdb.reader import Lmdb
from fiqa_core.shards.path_list.reader import PathList
from fiqa_core.shards.tfrecord.example import FILENAME, IMAGE, LABEL, serialised
from fiqa_core.shards.tfrecord.framing import framed
from fiqa_core.shards.tfrecord.reader import TFRecord
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.shards.zip.reader import Zip
from fiqa_core.storage import stat

Read = Callable[[Path], Iterator[int]]


def main() -> None:
    """Make the files, read them in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    stored = stored_images(shards(arguments.shards))
    images = [stored[number % len(stored)] for number in range(arguments.images)]
    print("| format | ours, us an image | peer, us an image | ours / peer (speed) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for kind, (path, ours, peer) in _files(Path(name), images).items():
            # Under a new name each time: what our readers remember of a file is not to count.
            names = [path.with_name(f"{number}-{path.name}") for number in range(arguments.rounds)]
            for link in names:
                link.hardlink_to(path)
            times = [(_timed(ours, link), _timed(peer, link)) for link in names]
            own, other = (statistics.median(each) / len(images) * 1e6 for each in zip(*times, strict=True))
            ratio = statistics.median(theirs / mine for mine, theirs in times)
            print(f"| {kind} | {own:.1f} | {other:.1f} | {ratio:.2f} |", flush=True)


def _timed(read: Read, path: Path) -> float:
    started = time.process_time()
    assert sum(read(path)) > 0
    return time.process_time() - started


def _files(folder: Path, images: list[bytes]) -> dict[str, tuple[Path, Read, Read]]:
    """By format: the file, our reader and the peer's; each gives the sizes of images."""
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    return {
        "LMDB, ViT-FIQA's layout": (_write_lmdb(folder, images), _ours(Lmdb()), _by_lmdb),
        "TFRecord": (_write_tfrecord(folder, images), _ours(TFRecord()), _by_tfrecord),
        "`.bin` of bytes": (_write_bin(folder / "a.bin", images), _ours(InsightFaceBin()), _by_pickle),
        "`.bin` of arrays": (_write_bin(folder / "b.bin", arrays), _ours(InsightFaceBin()), _by_pickle),
        "zip": (_write_zip(folder, images), _ours(Zip()), _by_zipfile),
        "list (CSV)": (_write_list(folder / "list", images), _ours(PathList()), _by_pandas),
        "Arrow of `save_to_disk`": (_write_arrow(folder, images), _ours(Arrow()), _by_datasets),
    }


def _ours(container: Container) -> Read:
    def read(path: Path) -> Iterator[int]:
        file = stat(str(path))
        assert file is not None
        # As one unit: the peers do not cut their files either.
        for record in container.read(container.whole(file), ReadSettings()):
            yield len(record.data or b"")

    return read


def _by_lmdb(path: Path) -> Iterator[int]:
    env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False)
    with env.begin() as transaction:
        keys = pickle.loads(transaction.get(b"__keys__"))  # noqa: S301 - the peer, on a file of our own
        labels = pickle.loads(transaction.get(b"__labels__"))  # noqa: S301
    for key, _ in zip(keys, labels, strict=True):
        with env.begin() as transaction:
            yield len(transaction.get(key))
    env.close()


def _by_tfrecord(path: Path) -> Iterator[int]:
    wanted = {IMAGE: "byte", LABEL: "int", FILENAME: "byte"}
    for record in tfrecord_loader(str(path), None, wanted):
        yield len(record[IMAGE])


def _by_pickle(path: Path) -> Iterator[int]:
    with path.open("rb") as stream:
        images, _ = pickle.load(stream, encoding="bytes")  # noqa: S301
    for image in images:
        yield len(bytes(image))


def _by_zipfile(path: Path) -> Iterator[int]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            yield len(archive.read(info))


def _by_pandas(path: Path) -> Iterator[int]:
    table = pd.read_csv(path)
    for name, _ in zip(table.path, table.label, strict=True):
        yield len((path.parent / name).read_bytes())


def _by_datasets(path: Path) -> Iterator[int]:
    table = datasets.Dataset.from_file(str(path)).cast_column("image", datasets.Image(decode=False))
    for row in table:
        yield len(row["image"]["bytes"])


def _write_zip(folder: Path, images: list[bytes]) -> Path:
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for number, image in enumerate(images):
            archive.writestr(f"{number // 10}/{number:06d}.jpg", image)
    return folder / "faces.zip"


def _write_list(folder: Path, images: list[bytes]) -> Path:
    names = []
    for number, image in enumerate(images):
        place = folder / str(number // 10) / f"{number:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image)
        names.append(place.relative_to(folder))
    labels = [number // 10 for number in range(len(images))]
    pd.DataFrame({"path": names, "label": labels}).to_csv(folder / "faces.csv", index=False)
    return folder / "faces.csv"


def _write_arrow(folder: Path, images: list[bytes]) -> Path:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    columns = {
        "image": [{"bytes": image, "path": f"{number:06d}.jpg"} for number, image in enumerate(images)],
        "label": [number // 10 for number in range(len(images))],
    }
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder / "saved", num_shards=1)
    (found,) = (folder / "saved").glob("*.arrow")
    return found.rename(folder / "faces.arrow")


def _write_lmdb(folder: Path, images: list[bytes]) -> Path:
    path = folder / "faces.lmdb_dataset"
    env = lmdb.open(str(path), subdir=False, map_size=1 << 34, lock=False)
    listed: dict[bytes, Any] = {
        b"__keys__": [str(number).encode() for number in range(len(images))],
        b"__labels__": [number // 10 for number in range(len(images))],
    }
    with env.begin(write=True) as transaction:
        for key, image in zip(listed[b"__keys__"], images, strict=True):
            transaction.put(key, image)
        for key, value in listed.items():
            transaction.put(key, pickle.dumps(value))
    env.close()
    return path


def _write_tfrecord(folder: Path, images: list[bytes]) -> Path:
    path = folder / "faces.tfrecord"
    with path.open("wb") as stream:
        for number, image in enumerate(images):
            name = f"face_{number:06d}.jpg".encode()
            stream.write(framed(serialised({IMAGE: image, LABEL: number // 10, FILENAME: name})))
    return path


def _write_bin(path: Path, images: list[Any]) -> Path:
    with path.open("wb") as stream:
        pickle.dump((images, [True] * (len(images) // 2)), stream, 4)
    return path


if __name__ == "__main__":
    main()
