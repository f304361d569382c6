"""(p) One large tar: cut into ranges on several processes, over one process, and over the tar as one unit.

python -m benchmarks.tar_ranges [--shards FOLDER] [--gigabytes 5] [--processes 2] [--rounds 1] [--folder FOLDER]

The tar repeats real faces under new names, each with a label. The command runs with the network replaced by nothing, so
reading, hashing, decoding and the table are measured. All its runs read the same file (from a warm page cache where it
fits), take turns, and must give the same table. Seconds are of the whole command: start, plan, pipeline. The walk over
the headers, which is a part of the plan, is measured by itself too, against reading the file.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from fiqa_core.runs.plan import plan_dataset

_UNCUT = 1 << 40  # records a unit
_CHUNK = 4 << 20


def main() -> None:
    """Make the tar, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="of which the best counts")
    parser.add_argument("--unit-size", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        tar = folder / "faces.tar"
        count = write_tar(tar, stored_images(shards(arguments.shards), 2000), arguments.gigabytes)
        print(f"{count:,} faces in a tar of {tar.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} cores", flush=True)
        walk(tar, folder, arguments.unit_size)
        cut, uncut = arguments.unit_size, _UNCUT
        cases = {
            f"cut, {arguments.processes} processes": (cut, arguments.processes),
            "cut, 1 process": (cut, 1),
            f"one unit, {arguments.processes} processes": (uncut, arguments.processes),
            "one unit, 1 process": (uncut, 1),
        }
        best: dict[str, float] = {}
        for number in range(arguments.rounds):
            for place, (kind, (size, processes)) in enumerate(cases.items()):
                seconds = command(tar, folder / f"out-{number}-{place}", size, processes)
                best[kind] = min(seconds, best.get(kind, seconds))
        tables = [pq.read_table(out / "quality") for out in sorted(folder.glob("out-*"))]
        if not all(table.equals(tables[0]) for table in tables):
            raise SystemExit("the tables differ")
    fastest = best[next(iter(cases))]
    print("| | seconds | images/s | the first is faster by |\n|---|---|---|---|")
    for kind, seconds in best.items():
        print(f"| {kind} | {seconds:.1f} | {count / seconds:,.0f} | {seconds / fastest:.2f} |")


def write_tar(path: Path, images: list[bytes], gigabytes: float) -> int:
    """A tar of about so many bytes, as `tar` writes it; the number of its faces."""
    count = 0
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        while archive.offset < gigabytes * 1e9:
            for suffix, data in (("jpg", images[count % len(images)]), ("cls", b"%d" % (count % 1000))):
                member = tarfile.TarInfo(f"{count // 1000:05d}/{count:08d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            count += 1
    return count


def walk(tar: Path, folder: Path, unit_size: int) -> None:
    """Print how long it takes to find the places to cut, and to take the plan up again."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        units = plan_dataset([str(tar)], "auto", unit_size, str(folder / "plan")).units
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    with tar.open("rb", buffering=0) as stream:
        while stream.read(_CHUNK):
            pass
    read = time.perf_counter() - started
    rate = tar.stat().st_size / 1e6 / seconds[0]
    print(f"planned {len(units)} units in {seconds[0]:.1f} s ({rate:,.0f} MB/s; reading alone takes {read:.1f} s)")
    print(f"planned again, from the index, in {seconds[1]:.3f} s", flush=True)


def command(tar: Path, output: Path, unit_size: int, processes: int) -> float:
    """Seconds of the command."""
    options = ["--input", str(tar), "--output", str(output), "--unit-size", str(unit_size), "--decode-threads", "1"]
    if processes > 1:
        options += ["--direct_running_mode", "multi_processing", "--direct_num_workers", str(processes)]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "benchmarks.no_op", *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
