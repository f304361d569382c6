"""Tasks: steps of a search that any worker can do alone. Each is done once, however often it is started."""

import contextlib
import functools
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.layout import read_own_json
from fiqa_core.storage import filesystem, is_local, join, publish, publish_bytes, read_bytes, stat, temporary_for

Counts = dict[str, int]


class Task(Protocol):
    """One step of a search; small and picklable.

    Attributes:
        output: folder to publish in; temporary files are in its `_tmp`. work: folder of this search.
        name: unique among the tasks of the search.
    """

    @property
    def output(self) -> str: ...
    @property
    def work(self) -> str: ...
    @property
    def name(self) -> str: ...

    def run(self) -> Counts:
        """Do the task and publish its files (the same bytes every time); returns what was counted."""


class RunStage(Protocol):
    """Runs all tasks of a stage, on any worker and in any order, and adds up their counts."""

    def __call__(self, stage: str, tasks: Sequence[Task]) -> Counts: ...


def run_task(task: Task) -> Counts:
    """Do a task unless its marker says that it is done; returns its counts in both cases."""
    marker = join(task.work, "done", f"{task.name}.json")
    if stat(marker) is not None:
        with contextlib.suppress(ValueError, TypeError):  # damaged marker: do the task again
            return {str(name): int(count) for name, count in read_own_json(marker).items()}
    counts = task.run()
    publish_bytes(json.dumps(counts, sort_keys=True).encode(), task.output, marker)
    return counts


def add_counts(*counts: Counts) -> Counts:
    """The sums of the counts of several tasks."""
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(sorted(total.items()))


def run_here(stage: str, tasks: Sequence[Task]) -> Counts:
    """Run all tasks one after the other in this process."""
    del stage
    return add_counts(*map(run_task, tasks))


def save_array(values: np.ndarray, output: str, url: str) -> str:
    """Publish an array as `.npy`; returns its URL."""
    with temporary_for(output) as path:
        with path.open("wb") as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(values), allow_pickle=False)
        publish(path, url)
    return url


@functools.lru_cache(maxsize=8)
def load_array(url: str) -> np.ndarray:
    """A published array: mapped from a local disk, or read once for each process from a store."""
    if is_local(url):
        mapped: np.ndarray = np.load(Path(filesystem(url)[1]), mmap_mode="r", allow_pickle=False)
        return mapped
    values: np.ndarray = np.load(io.BytesIO(read_bytes(url)), allow_pickle=False)
    return values


def save_table(columns: dict[str, Any], schema: pa.Schema, output: str, url: str) -> str:
    """Publish a table as Parquet; returns its URL. The bytes depend on the rows only."""
    with temporary_for(output) as path:
        pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")
        publish(path, url)
    return url
