"""The data path to a GPU where there is none: what the command sustains into a scoring process of a set rate.

python -m benchmarks.feeding [--shards FOLDER] [--repeat 24] [--workers 2] [--rates 5000 20000 50000]

The scoring process takes batches of 256 out of shared memory and answers at the set rate without computing. The limit
is the smaller of that rate and what the same worker processes read, decode and write without any network and without a
scoring process, in the same batches: the mean of a run before and one after, so that a machine that slows down between
runs does not count. All are steady rates: rows a second between the first and the last table file of a run, so without
the start of the worker processes. CPU microseconds an image are of the scoring process (its own account) and of the
workers (the operating system's, with the start of their processes).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS, shards
from benchmarks.reading import link_copies

RATES = (5_000, 20_000, 50_000)
_SERVED = re.compile(r"no worker is left: (\d+) images, ([\d.]+) CPU s")
_CHILDREN = re.compile(r"children_cpu_s ([\d.]+)")


class Run(NamedTuple):
    """Steady images/s, and CPU microseconds an image in the scoring process (NaN: there is none) and in the workers."""

    rate: float
    server_us: float = float("nan")
    workers_us: float = float("nan")


def main() -> None:
    """Each rate, between two runs without a network; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--repeat", type=int, default=24, help="times that each shard is read, under other names")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_copies(shards(arguments.shards), folder / "shards", arguments.repeat)
        options = ["--input", str(folder / "shards"), "--workers", str(arguments.workers), "--decode-threads", "1"]
        alone = measure("inf", [*options, "--scoring-process", "off"], folder / "alone")
        print(f"{arguments.workers} worker processes, {os.cpu_count()} cores; images/s and CPU us an image")
        print("| it answers at | sustained | no network | over the limit | us, scoring process | us, workers | alone |")
        print("|---|---|---|---|---|---|---|")
        for rate in arguments.rates:
            fed = measure(str(rate), options, folder / f"{rate}")
            before, alone = alone, measure("inf", [*options, "--scoring-process", "off"], folder / f"{rate}-alone")
            own = (before.rate + alone.rate) / 2
            print(
                f"| {rate:,.0f} | {fed.rate:,.0f} | {own:,.0f} | {fed.rate / min(rate, own):.3f} "
                f"| {fed.server_us:.1f} | {fed.workers_us:.0f} | {(before.workers_us + alone.workers_us) / 2:.0f} |",
                flush=True,
            )


def measure(rate: str, options: list[str], output: Path) -> Run:
    """One run of the command, into a scoring process of that rate unless the options say otherwise."""
    command = [sys.executable, "-m", "benchmarks.fed", rate, *options, "--output", str(output)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steady, rows = steady_rate(output)
    served, children = _SERVED.search(done.stderr), _CHILDREN.search(done.stdout)
    if children is None:
        raise RuntimeError(f"{' '.join(command)} did not say what CPU time its processes took: {done.stdout}")
    if served is None:
        return Run(steady, workers_us=float(children[1]) / rows * 1e6)
    of_server = float(served[2])
    return Run(steady, of_server / int(served[1]) * 1e6, (float(children[1]) - of_server) / rows * 1e6)


def steady_rate(output: Path) -> tuple[float, int]:
    """Rows a second between the first and the last table file of a run, and all rows."""
    files = sorted((output / "quality").glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    rows = [pq.read_metadata(path).num_rows for path in files]
    seconds = files[-1].stat().st_mtime - files[0].stat().st_mtime
    return (sum(rows[1:]) / seconds if seconds else float("nan")), sum(rows)


if __name__ == "__main__":
    main()
