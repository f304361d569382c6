"""A report over a table of millions of rows: seconds, peak memory, size of the file, seconds until a browser has it.

python -m benchmarks.report [--millions 10] [--folder FOLDER]

The rows are those of `benchmarks.decisions`, in files of a million, decided about by a policy of quality and size. They
point into one tar of 1,000 different faces, so that the faces that are shown are read as from a real dataset. Seconds
and memory are of a child process (`VmHWM`), start and end included. Aim: 10 M rows within 180 s and 2 GiB, a file
below 15 MB that opens within 2 s.
"""

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.decisions import IDENTITIES, block_of_rows
from pipelines.filter_dataset import run as run_filter

_FACES = 1000
_BLOCK = 1_000_000
_POLICY = ["--min-quality", "0.5", "--drop-worst", "0.02", "--best-per-identity", "200", "--min-per-identity", "5"]


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--folder", type=Path, help="where tables are made (kept there); default: temporary")
    arguments = parser.parse_args()
    print("| rows | seconds | peak memory, MiB | file, MB | opens in, s |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for millions in arguments.millions:
            folder = (arguments.folder or Path(name)) / f"{millions:g}M"
            table, decisions = make_tables(folder, int(millions * 1e6))
            report = folder / "report.html"
            seconds, peak = measure(table, decisions, report)
            opened = seconds_to_open(report)
            size = report.stat().st_size / 1e6
            print(f"| {millions:g} M | {seconds:.1f} | {peak >> 10:,} | {size:.1f} | {opened} |", flush=True)


def measure(table: Path, decisions: Path, report: Path) -> tuple[float, int]:
    """Seconds and peak resident kilobytes of the command."""
    command = [sys.executable, "-m", "benchmarks.report_child", "--quality", table, "--decisions", decisions]
    command += ["--group-by", "width", "--output", report, "--overwrite"]
    started = time.perf_counter()
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - started, int(done.stderr.decode().rpartition("peak kilobytes ")[2])


def seconds_to_open(report: Path) -> str:
    """From the address to the page with its slider and tables, in headless Chromium; its own start is left out."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "no Chromium here"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        started = time.perf_counter()
        page.goto(report.as_uri())
        page.wait_for_function("'ready' in document.documentElement.dataset")
        seconds = time.perf_counter() - started
        browser.close()
    return f"{seconds:.2f}"


def make_tables(folder: Path, rows: int) -> tuple[Path, Path]:
    """A quality table of so many rows and decisions about it (made once)."""
    table, decisions = folder / "quality", folder / "decided"
    if (folder / "done").exists():
        return table, decisions
    table.mkdir(parents=True, exist_ok=True)
    digests = _write_faces(folder / "faces.tar")
    identities = max(1, IDENTITIES * rows // 10_000_000)
    for block, first in enumerate(range(0, rows, _BLOCK)):
        count = min(_BLOCK, rows - first)
        made = block_of_rows(np.random.default_rng([4, block]), first, count, identities)
        index = np.arange(first, first + count) % _FACES
        real = {
            "shard": pa.repeat(str(folder / "faces.tar"), count),
            "index": pa.array(index),
            "sha256": pa.array(digests).take(pa.array(index)),
        }
        made = pa.table([real.get(name, made[name]) for name in made.column_names], schema=made.schema)
        pq.write_table(made, table / f"part-{block:06d}.parquet", compression="zstd")
    if run_filter(["--quality", str(table), "--output", str(decisions), "--write", "none", *_POLICY]):
        raise SystemExit("the decisions were not made")
    (folder / "done").touch()
    return table, decisions


def _write_faces(path: Path) -> list[bytes]:
    """1,000 different pictures of 112x112, about as large as stored faces; their digests."""
    rng = np.random.default_rng(7)
    digests = []
    with tarfile.open(path, "w") as archive:
        for number in range(_FACES):
            coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), np.uint8), "RGB")
            stream = io.BytesIO()
            coarse.resize((112, 112), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
            data = stream.getvalue()
            member = tarfile.TarInfo(f"{number:06d}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            digests.append(hashlib.sha256(data).digest())
    return digests


if __name__ == "__main__":
    main()
