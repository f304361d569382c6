"""Time and peak memory of evaluate_quality as the pair list grows to the size of IJB-C's (15.6 million pairs).

python -m benchmarks.edc_scale [--pairs 1500000 5000000 15000000] [--folder FOLDER]

Invented data of IJB-C's shape: 23,124 templates of 3,531 people, embeddings of 512 numbers, one quality measure, both
protocols, three FMRs, one random seed. Everything is counted: reading the list, comparing, curves, writing.
"""

import argparse
import resource
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


def main() -> None:
    """Run each size in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_500_000, 5_000_000, 15_000_000])
    parser.add_argument("--folder", type=Path, help="where the data is made (default: a temporary folder)")
    arguments = parser.parse_args()
    print("| pairs | seconds | CPU seconds | peak MiB |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        people = write_inputs(folder)
        for count in sorted(arguments.pairs):
            write_pairs(folder / "pairs.txt", people, count)
            table = str(folder / "table.parquet")
            flags = ["--quality", f"q={table}", "--embeddings", f"fr={table}", "--pairs", f"set={folder / 'pairs.txt'}"]
            flags += ["--random-seeds", "1", "--no-plots", "--output", str(folder / "out"), "--overwrite"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            command = [sys.executable, "-m", "pipelines.evaluate_quality", *flags]
            subprocess.run(command, check=True, capture_output=True)
            wall = time.monotonic() - started
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            # The sizes grow, so the largest child so far is this one.
            print(f"| {count:,} | {wall:.0f} | {cpu:.0f} | {used.ru_maxrss >> 10:,} |", flush=True)


if __name__ == "__main__":
    main()
