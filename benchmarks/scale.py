"""Planning and bookkeeping of a large dataset with a network that costs nothing.

    python -m benchmarks.scale plan --format parquet            # 1,000 shards of 10,000 records
    python -m benchmarks.scale plan --format parquet --open-ms 30
    python -m benchmarks.scale run --shards 1000                # 10 M records pushed through, not decoded
    python -m benchmarks.scale summaries --units 65000

The shards are one real shard under as many names (hard links): the disk holds it once, every other step treats
them as different. Prints one JSON object; what each number includes is written beside it.
"""

import argparse
import io
import json
import os
import pickle
import resource
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring import run as scoring_run
from fiqa_core.scoring import stream
from fiqa_core.scoring.batch_scorer import BatchScorer, Scores
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, merge, of_unit, summarise
from fiqa_core.shards import plan, sources
from fiqa_core.shards.parquet import reader as parquet
from pipelines.score_dataset import run as score_dataset

SETTINGS = ScoreSettings("none", "none", "0" * 64)
STORED = bytes(range(256))  # what stands for an image; nothing decodes it


def peak_mib() -> float:
    """Largest resident size of this process so far, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


@contextmanager
def timed(times: dict[str, list[float]], name: str) -> Iterator[None]:
    """Wall-clock and CPU seconds (of all threads) of a block."""
    started, cpu = time.perf_counter(), time.process_time()
    yield
    times[name] = [round(time.perf_counter() - started, 3), round(time.process_time() - cpu, 3)]


def write_shards(folder: Path, kind: str, shards: int, records: int, row_group: int = 1000) -> int:
    """One shard under many names; its size in bytes."""
    first = folder / f"s-{0:06}.{'tar' if kind == 'webdataset' else 'parquet'}"
    if kind == "parquet":
        table = pa.table({"image": [STORED] * records, "label": pa.array(range(records))})
        pq.write_table(table, first, row_group_size=row_group)
    else:
        with tarfile.open(first, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number in range(records):
                member = tarfile.TarInfo(f"{number:08}.jpg")
                member.size = len(STORED)
                archive.addfile(member, io.BytesIO(STORED))
    for number in range(1, shards):
        os.link(first, folder / f"s-{number:06}{first.suffix}")
    return first.stat().st_size


def count_calls(calls: Counter[str], open_s: float) -> None:
    """Count what planning asks of the store; every opened file costs `open_s` seconds more."""
    lock = threading.Lock()

    def counted(module: Any, name: str, wait: float = 0.0) -> None:
        original = getattr(module, name)

        def call(*arguments: Any) -> Any:
            with lock:
                calls[name] += 1
            time.sleep(wait)
            return original(*arguments)

        setattr(module, name, call)

    for name in ("stat", "is_folder", "expand_glob", "walk"):
        counted(sources, name)
    counted(parquet, "open_read", open_s)


def measure_plan(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Plan, write the plan, and plan again as a resumed run does."""
    calls: Counter[str] = Counter()
    size = write_shards(folder, arguments.format, arguments.shards, arguments.records)
    count_calls(calls, arguments.open_ms / 1000)
    output = str(folder / "out")
    before = peak_mib()
    times: dict[str, list[float]] = {}
    for threads in (1, plan._PLANNED_AT_ONCE):
        plan._PLANNED_AT_ONCE = threads
        with timed(times, f"plan_{threads}_threads"):
            planned = plan_dataset([str(folder / "s-*")], "auto", 4000, f"{output}/plan")
    with timed(times, "begin"):
        scoring_run.begin(output, ["x"], 4000, SETTINGS, planned)
    with timed(times, "begin_resumed"):
        scoring_run.begin(output, ["x"], 4000, SETTINGS, planned)
    return {
        "shards": arguments.shards,
        "shard_bytes": size,
        "units": len(planned.units),
        "records": planned.records,
        "added_ms_per_open": arguments.open_ms,
        "seconds_and_cpu_seconds": times,
        "calls_of_both_plannings": dict(calls),
        "plan_units_parquet_bytes": (folder / "out/plan/units.parquet").stat().st_size,
        "run_json_bytes": (folder / "out/run.json").stat().st_size,
        "one_unit_pickled_bytes": len(pickle.dumps(planned.units[-1])),
        "peak_mib_before_and_after": [before, peak_mib()],
    }


@dataclass(frozen=True)
class NoOpSource:
    """Quality from the batch's size, no network; decoding is replaced by one grey image (`load` says so)."""

    def load(self) -> "NoOp":
        return NoOp()


class NoOp(BatchScorer):
    """Different qualities, at no cost."""

    batch_size = 256

    def __init__(self) -> None:
        grey = np.full((112, 112, 3), 127, np.uint8)
        prepared = type("Prepared", (), {"pixels": grey, "width": 112, "height": 112})()
        if not hasattr(stream, "prepare"):
            raise RuntimeError("stream.prepare is gone: this benchmark replaces it")
        stream.prepare = lambda *_: prepared  # type: ignore[assignment]
        self._random = np.random.default_rng(0)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        return Scores(self._random.random(len(pixels), np.float32), None)


def measure_run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole command over tars: list, plan, read, hash, batch, write, publish, add up, account."""
    size = write_shards(folder, "webdataset", arguments.shards, arguments.records)
    output = folder / "out"
    command = ["--input", str(folder / "*.tar"), "--output", str(output), "--device", "cpu", *arguments.options]
    cpu = time.process_time()
    started = time.perf_counter()
    code = score_dataset(command, NoOpSource())
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    resumed, resumed_cpu = time.perf_counter(), time.process_time()
    again = score_dataset([*command, "--resume"], NoOpSource())
    complete_s = time.perf_counter() - resumed
    complete_cpu = time.process_time() - resumed_cpu
    (output / "summary.json").unlink()
    resumed, resumed_cpu = time.perf_counter(), time.process_time()
    third = score_dataset([*command, "--resume"], NoOpSource())
    summary = json.loads((output / "summary.json").read_text())
    return {
        "exit_codes": [code, again, third],
        "records": summary["records"],
        "status": summary["status"],
        "shard_bytes": size,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "records_per_second": round(summary["records"] / seconds),
        "records_per_cpu_second": round(summary["records"] / cpu),
        "resume_when_complete_seconds_and_cpu": [round(complete_s, 2), round(complete_cpu, 2)],
        "resume_without_summary_seconds_and_cpu": [
            round(time.perf_counter() - resumed, 2),
            round(time.process_time() - resumed_cpu, 2),
        ],
        "peak_mib": peak_mib(),
        "peak_mib_of_largest_child": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
        "table_bytes": sum(path.stat().st_size for path in (output / "quality").iterdir()),
        "plan_units_parquet_bytes": (output / "plan/units.parquet").stat().st_size,
        "run_json_bytes": (output / "run.json").stat().st_size,
        "summary_json_bytes": (output / "summary.json").stat().st_size,
    }


def measure_summaries(arguments: argparse.Namespace) -> dict[str, Any]:
    """Adding up one summary a unit, as the last stage of a job does."""
    rows = 4000
    table = pa.table(
        {
            "shard": ["s"] * rows,
            "index": pa.array(range(rows)),
            "quality": np.random.default_rng(0).random(rows, np.float32),
            "status": ["scored"] * rows,
        }
    )
    one = summarise(table)
    total = Summary()
    started = time.process_time()
    for number in range(arguments.units):
        total = merge(total, of_unit(replace(one, rows=rows), number, 0.0, kept=False))
    return {
        "units": arguments.units,
        "one_summary_pickled_bytes": len(pickle.dumps(of_unit(one, arguments.units - 1, 0.0, kept=False))),
        "total_pickled_bytes": len(pickle.dumps(total)),
        "merge_cpu_seconds": round(time.process_time() - started, 2),
        "rows": total.rows,
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="Planning and bookkeeping of a large dataset.")
    parser.add_argument("what", choices=("plan", "run", "summaries"))
    parser.add_argument("--format", choices=("parquet", "webdataset"), default="parquet")
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--records", type=int, default=10_000, help="in a shard")
    parser.add_argument("--units", type=int, default=65_000)
    parser.add_argument("--open-ms", type=float, default=0.0, help="added to every opened shard, as a far store would")
    arguments, arguments.options = parser.parse_known_args()
    if arguments.what == "summaries":
        print(json.dumps(measure_summaries(arguments), indent=1))
        return
    folder = Path(tempfile.mkdtemp(prefix="fiqa-scale-"))
    try:
        measure = measure_plan if arguments.what == "plan" else measure_run
        print(json.dumps(measure(arguments, folder), indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
