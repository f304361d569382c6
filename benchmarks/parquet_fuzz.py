"""Damaged Parquet, thousands of it: no command may end, no process die, no untouched row group be lost in silence.

`python -m benchmarks.parquet_fuzz [--footers 4000] [--data 2000] [--first-seed 0]`

Small files of several row groups by several writers, mutated by seed in their footer or in one row group, are planned
beside a good shard and read as a worker reads them. A child process does it, so that an abort is seen, named by its
seed, and gone on behind. Exit code 1 where something is wrong.
"""

import argparse
import io
import random
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import ReadSettings, Record
from schemas.reasons import SHARD_LEVEL

ROWS, GROUP, SECONDS = 60, 20, 5
IMAGES = [random.Random(n).randbytes(300 + n) for n in range(ROWS)]
LABELS = [f"p{n // 5}" for n in range(ROWS)]


def _arrow(**options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"image": IMAGES, "label": LABELS}), out, row_group_size=GROUP, **options)
    return out.getvalue()


def _duckdb() -> bytes:
    rows = pa.table({"image": IMAGES, "label": LABELS})
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
        # DuckDB rounds row groups to its vectors of 2048, so one file has one group.
        database.register("rows", rows)
        database.execute(f"copy (from rows) to '{folder}/f.parquet' (format parquet, row_group_size {GROUP})")
        return Path(folder, "f.parquet").read_bytes()


def _hugging_face() -> bytes:
    from datasets import Dataset, Features, Image, Value

    rows = {"image": [{"bytes": data, "path": None} for data in IMAGES], "label": LABELS}
    out = io.BytesIO()
    Dataset.from_dict(rows, Features({"image": Image(), "label": Value("string")})).to_parquet(out, batch_size=GROUP)
    return out.getvalue()


def _polars() -> bytes:
    import polars

    out = io.BytesIO()
    polars.DataFrame({"image": IMAGES, "label": LABELS}).write_parquet(out, row_group_size=GROUP)
    return out.getvalue()


WRITERS: dict[str, Callable[[], bytes]] = {
    "pyarrow": _arrow,
    "pyarrow, plain, checksums, page index": lambda: _arrow(
        use_dictionary=False, write_page_checksum=True, write_page_index=True
    ),
    "pyarrow, pages of version 2": lambda: _arrow(data_page_version="2.0", compression="zstd"),
    "duckdb": _duckdb,
    "hugging face": _hugging_face,
    "polars": _polars,
}


def files() -> dict[str, bytes]:
    """The undamaged files of the writers that are installed."""
    found = {}
    for name, write in WRITERS.items():
        try:
            found[name] = write()
        except ImportError:
            sys.stderr.write(f"{name}: not installed, left out\n")
    return found


def mutated(data: bytes, seed: int, footer: bool) -> tuple[bytes, set[int]]:
    """A damaged copy, and the row groups that were touched (of a footer: none can be said to be untouched)."""
    chosen = random.Random(seed)
    length = struct.unpack("<I", data[-8:-4])[0]
    end = len(data) - 8 - length
    meta = pq.read_metadata(io.BytesIO(data))
    if footer:
        start, stop, touched = end, len(data) - (0 if chosen.random() < 0.05 else 8), set(range(meta.num_row_groups))
    else:
        group = chosen.randrange(meta.num_row_groups)
        chunks = [meta.row_group(group).column(n) for n in range(meta.num_columns)]
        begins = [min(filter(None, (c.dictionary_page_offset, c.data_page_offset))) for c in chunks]
        ends = [begin + c.total_compressed_size for begin, c in zip(begins, chunks, strict=True)]
        start, stop, touched = min(begins), max(ends), {group}
    damaged = bytearray(data)
    for _ in range(chosen.choice([1, 1, 2, 8, 32])):
        place = chosen.randrange(start, stop)
        if chosen.random() < 0.5:
            damaged[place] ^= 1 << chosen.randrange(8)
        else:
            damaged[place] = chosen.choice([0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)])
    return bytes(damaged), touched


def check(data: bytes, touched: set[int], footer: bool, folder: Path) -> str:
    """What came of one damaged shard beside a good one ("" where all is well)."""
    (folder / "b.parquet").write_bytes(data)
    settings = ReadSettings()
    plan = plan_dataset(
        [str(folder / "a.parquet"), str(folder / "b.parquet")], "parquet", 1000, str(folder / "w"), settings
    )
    records: dict[str, list[Record]] = {"a": [], "b": []}
    for unit in plan.units:
        records[Path(unit.shard).stem] += container_of(unit).read(unit, settings)
    if [record.data for record in records["a"]] != IMAGES:
        return "the good shard was not read as it is"
    found = records["b"]
    if any(record.fault is not None and record.fault.status in SHARD_LEVEL for record in found):
        return ""
    if footer:
        right = [r.data for r in found] == IMAGES
        return "" if right or len(found) == ROWS or any(r.fault for r in found) else f"{len(found)} rows, no fault"
    if [record.index for record in found] != list(range(ROWS)):
        return f"{len(found)} rows of {ROWS}"
    meta = pq.read_metadata(io.BytesIO(data))
    first = 0
    for group in range(meta.num_row_groups):
        rows = range(first, first := first + meta.row_group(group).num_rows)
        if group not in touched and any(found[n].data != IMAGES[n] or found[n].label != LABELS[n] for n in rows):
            return f"row group {group} was not touched and is not right"
    return ""


def child(seeds: range, footer: bool) -> None:
    """Print each seed before it is tried, and what was wrong with it."""
    made = list(files().items())
    signal.signal(signal.SIGALRM, _hung)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.parquet").write_bytes(made[0][1])
        for seed in seeds:
            print("try", seed, flush=True)
            data, touched = mutated(made[seed % len(made)][1], seed, footer)
            signal.alarm(SECONDS)
            try:
                wrong = check(data, touched, footer, folder)
            except Exception as error:
                wrong = f"{type(error).__name__}: {str(error)[:200]!r}"
            signal.alarm(0)
            if wrong:
                print("wrong", seed, made[seed % len(made)][0], wrong, flush=True)
    print("done", flush=True)


def _hung(*_: object) -> None:
    raise TimeoutError(f"not over after {SECONDS} seconds")


def watched(seeds: range, footer: bool) -> Iterator[str]:
    """Lines of children, one after the other: one that dies is followed by one that begins behind its seed."""
    kind = "footer" if footer else "data"
    while seeds:
        command = [sys.executable, "-m", "benchmarks.parquet_fuzz", "--child", kind, str(seeds.start), str(seeds.stop)]
        last, done = -1, False
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as process:
            for line in process.stdout or ():
                if line.startswith("try"):
                    last = int(line.split()[1])
                elif line.startswith("wrong"):
                    yield line.strip()
                done = done or line.startswith("done")
        if done:
            return
        if last < 0:
            raise RuntimeError("the child did not get as far as its first seed")
        yield f"abort {last}: the process ended with {process.returncode}"
        seeds = range(last + 1, seeds.stop)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footers", type=int, default=4000)
    parser.add_argument("--data", type=int, default=2000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, start, stop = options.child
        child(range(int(start), int(stop)), kind == "footer")
        return 0
    counts: Counter[str] = Counter()
    for footer, count in ((True, options.footers), (False, options.data)):
        seeds = range(options.first_seed, options.first_seed + count)
        for line in watched(seeds, footer):
            counts[line.split()[0]] += 1
            print("footer" if footer else "data", line, flush=True)
    print(f"{options.footers} footers, {options.data} data regions: {counts['wrong']} wrong, {counts['abort']} aborts")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
