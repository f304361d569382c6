"""Decisions over 1, 3 and 10 million rows: seconds and peak memory of the command, in files of two sizes.

python -m benchmarks.decisions [--millions 1 3 10] [--folder FOLDER] [--write manifest]

The tables are seeded: 85,000 identities of uneven size (fewer for fewer rows, in proportion), keys such as datasets
have, qualities of 32 bits, 2 % of the rows with the stored bytes of another row, 0.5 % without a score. The policy
uses every rule that needs no embeddings. Seconds and memory are of a child process (`VmHWM`), start and end
included; the plan to read 10 million rows fits 16 GB of disk.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.quality import quality_schema

IDENTITIES = 85_000
_BLOCK = 1_000_000
POLICY = """
duplicates: {exact: all, across: drop_all}
quality: {min: 0.2, drop_fraction: 0.05, drop_identity_fraction: 0.05, keep_at_least: 3}
size: {best_per_identity: 200, max_identities: 80000, target: 7000000, min_per_identity: 5}
weights: {mode: quantile, floor: 0.2}
"""


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 10])
    parser.add_argument("--rows-a-file", type=int, nargs="+", default=[4000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where tables are made (kept there); default: temporary")
    parser.add_argument("--write", default="manifest")
    arguments = parser.parse_args()
    print("| rows | files | kept | seconds | peak memory, MiB | output, MB |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        (Path(name) / "policy.yaml").write_text(POLICY)
        for millions in arguments.millions:
            for per_file in arguments.rows_a_file:
                table = make_table(folder / f"{millions:g}M-{per_file}", int(millions * 1e6), per_file)
                output = Path(name) / "out"
                seconds, peak = measure(table, Path(name) / "policy.yaml", output, arguments.write)
                kept = sum(pq.read_metadata(file).num_rows for file in output.glob("manifest/*.parquet"))
                size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
                files = len(list(table.glob("*.parquet")))
                print(
                    f"| {millions:g} M | {files:,} | {kept:,} | {seconds:.1f} | {peak >> 10:,} | {size / 1e6:,.0f} |",
                    flush=True,
                )
                subprocess.run(["rm", "-r", output], check=True)


def measure(table: Path, policy: Path, output: Path, write: str) -> tuple[float, int]:
    """Seconds and peak resident kilobytes of the command."""
    command = [sys.executable, "-m", "benchmarks.decisions_child", "--quality", table, "--policy", policy]
    command += ["--output", output, "--write", write]
    started = time.perf_counter()
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - started
    return seconds, int(done.stderr.decode().rpartition("peak kilobytes ")[2])


def make_table(folder: Path, rows: int, per_file: int) -> Path:
    """A quality table of so many rows (made once)."""
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    identities = max(1, IDENTITIES * rows // 10_000_000)
    number = 0
    for block, first in enumerate(range(0, rows, _BLOCK)):
        # The same rows however they are cut into files.
        table = block_of_rows(np.random.default_rng([4, block]), first, min(_BLOCK, rows - first), identities)
        for start in range(0, table.num_rows, per_file):
            part = table.slice(start, per_file)
            pq.write_table(part, folder / f"part-{number:06d}.parquet", compression="zstd")
            number += 1
    (folder / "done").touch()
    return folder


def block_of_rows(rng: np.random.Generator, first: int, count: int, identities: int) -> pa.Table:
    """Consecutive rows of the table."""
    # Squared: few large identities and many small ones, as in datasets that were gathered from the web.
    identity = (rng.random(count) ** 2 * identities).astype(np.int64)
    place = np.arange(first, first + count)
    # A row in fifty has the bytes of an earlier row.
    source = np.where(rng.random(count) < 0.02, rng.integers(0, first + count, count), place)
    words = [(source.astype(np.uint64) + np.uint64(k)) * np.uint64(0x9E3779B97F4A7C15 + 2 * k) for k in range(4)]
    digests = np.stack(words, 1).astype("<u8").tobytes()
    scored = rng.random(count) > 0.005
    quality = pa.array(rng.beta(5, 2, count).astype(np.float32), mask=~scored)
    columns = {
        "key": pa.array([f"{i:06d}/{p:09d}.jpg" for i, p in zip(identity.tolist(), place.tolist(), strict=True)]),
        "shard": pa.repeat("gs://faces/train.rec", count),
        "index": place,
        "label": pa.array(identity.astype(str)),
        "quality": quality,
        "status": pa.array(np.where(scored, "scored", "truncated")).dictionary_encode(),
        "message": pa.nulls(count, pa.string()),
        "width": pa.repeat(pa.scalar(112, pa.int32()), count),
        "height": pa.repeat(pa.scalar(112, pa.int32()), count),
        "sha256": pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), count, [None, pa.py_buffer(digests)]),
    }
    return pa.table(columns, schema=quality_schema(storage=False))


def peak_kilobytes() -> int:
    """Of this process, so far (Linux). `ru_maxrss` would begin with what the process that started this one had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
