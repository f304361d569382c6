"""Time and peak memory of evaluate_quality as the pair list grows to the size of IJB-C's (15.6 million pairs).

python -m benchmarks.edc_scale [--pairs 1500000 5000000 15000000] [--images 47000] [--bootstrap 0] [--random-seeds 1]
    [--folder FOLDER]

Invented data of IJB-C's shape: 23,124 templates of 3,531 people, embeddings of 512 numbers, one quality measure, both
protocols, three FMRs. Everything is counted: reading the list, comparing, curves, writing. Then the same from images:
their embeddings are averaged to templates, with and without those of the mirrored images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

NAMES, PEOPLE, DIM = 23_124, 3_531, 512
TEMPLATE_PAIRS = 1_500_000


def write_inputs(folder: Path) -> np.ndarray:
    """Embeddings and qualities; returns who each name shows."""
    random = np.random.default_rng(0)
    people = random.integers(0, PEOPLE, NAMES)
    quality = random.random(NAMES).astype(np.float32)
    noise = random.standard_normal((NAMES, DIM), np.float32) * (2.5 - 2 * quality[:, None])
    vectors = random.standard_normal((PEOPLE, DIM), np.float32)[people] + noise
    keys = [f"template-{number}" for number in range(NAMES)]
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    columns = {"key": keys, "label": people.astype(str), "quality": quality, "embedding": embedding}
    pq.write_table(pa.table(columns), folder / "table.parquet")
    return people


def write_pairs(path: Path, people: np.ndarray, count: int) -> None:
    """All mated pairs (about 64,000), then random non-mated ones."""
    random = np.random.default_rng(1)
    order = np.argsort(people, kind="stable")
    own = [order[people[order] == person] for person in range(PEOPLE)]
    mated = np.concatenate([np.stack(np.triu_indices(len(group), 1)).T for group in own if len(group) > 1])
    starts = np.repeat(np.arange(PEOPLE), [len(group) * (len(group) - 1) // 2 for group in own])
    offsets = np.concatenate([[0], np.cumsum([len(group) for group in own])])
    a, b = (order[offsets[starts] + mated[:, side]] for side in (0, 1))
    others = random.integers(0, NAMES, (2, count + count // 100))
    others = others[:, people[others[0]] != people[others[1]]][:, : count - len(a)]
    names = pa.array([f"template-{number}" for number in range(NAMES)])
    first, second = (names.take(pa.array(np.concatenate(sides))) for sides in ((a, others[0]), (b, others[1])))
    same = np.repeat(np.array([1, 0], np.int8), [len(a), others.shape[1]])
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    pyarrow.csv.write_csv(pa.table({"a": first, "b": second, "same": same}), path, options)


def write_images(folder: Path, people: np.ndarray, count: int) -> None:
    """Images of the templates, about 20 each as in IJB-C: `images.parquet`, `mirrored.parquet`, `media.txt`."""
    random = np.random.default_rng(2)
    template = np.sort(np.append(np.arange(NAMES), random.integers(0, NAMES, max(0, count - NAMES))))
    media = random.integers(0, 8, len(template))
    keys = [f"image-{number}" for number in range(len(template))]
    lines = (f"{key} template-{of} {medium}\n" for key, of, medium in zip(keys, template, media, strict=True))
    (folder / "media.txt").write_text("".join(lines))
    centres = random.standard_normal((PEOPLE, DIM), np.float32)
    kind = pa.list_(pa.float32(), DIM)
    schema = pa.schema([("key", pa.string()), ("quality", pa.float32()), ("embedding", kind)])
    for name in ("images", "mirrored"):
        with pq.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
            for start in range(0, len(template), 1 << 14):
                part = slice(start, start + (1 << 14))
                shown = centres[people[template[part]]]
                vectors = shown + 1.5 * random.standard_normal(shown.shape, np.float32)
                columns = [pa.array(keys[part]), pa.array(random.random(len(vectors), np.float32))]
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=kind))
                writer.write_table(pa.table(columns, schema=schema))


def measured(flags: list[str], folder: Path) -> str:
    """Run the command; its seconds, CPU seconds and peak MiB as cells of a table."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pipelines.evaluate_quality", *flags]
    command += ["--no-plots", "--output", str(folder / "out"), "--overwrite"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    wall = time.monotonic() - started
    return f"{wall:.0f} | {used.ru_utime + used.ru_stime:.0f} | {used.ru_maxrss >> 10:,}"


def main() -> None:
    """Run each size in a process of its own, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="*", default=[1_500_000, 5_000_000, 15_000_000])
    parser.add_argument("--images", type=int, nargs="*", default=[47_000], help="IJB-C has 469,375 (2 GB of files)")
    parser.add_argument("--folder", type=Path, help="where the data is made (default: a temporary folder)")
    parser.add_argument("--bootstrap", type=int, default=0)
    parser.add_argument("--random-seeds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        people = write_inputs(folder)
        common = ["--random-seeds", str(arguments.random_seeds), "--bootstrap", str(arguments.bootstrap)]
        common += ["--pairs", f"set={folder / 'pairs.txt'}"]
        print("| pairs | seconds | CPU seconds | peak MiB |\n|---|---|---|---|", flush=True)
        for count in arguments.pairs:
            write_pairs(folder / "pairs.txt", people, count)
            table = folder / "table.parquet"
            cells = measured([*common, "--quality", f"q={table}", "--embeddings", f"fr={table}"], folder)
            print(f"| {count:,} | {cells} |", flush=True)
        print("\n| images | pairs | mirrored too | seconds | CPU seconds | peak MiB |\n|---|---|---|---|---|---|")
        for count in arguments.images:
            write_pairs(folder / "pairs.txt", people, TEMPLATE_PAIRS)
            write_images(folder, people, count)
            table = folder / "images.parquet"
            flags = [*common, "--quality", f"q={table}", "--embeddings", f"fr={table}"]
            flags += ["--templates", f"set={folder / 'media.txt'}"]
            for mirrored in (False, True):
                more = ["--flipped", f"fr={folder / 'mirrored.parquet'}"] if mirrored else []
                cells = measured([*flags, *more], folder)
                print(f"| {count:,} | {TEMPLATE_PAIRS:,} | {'yes' if mirrored else 'no'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
