"""Images/s that training is fed, with its step replaced by nothing, over bare JPEG decoding.

python -m benchmarks.training_input [--shards FOLDER] [--workers 0 1 2] [--seconds 15] [--batch 256] [--degrade 0]

Everything that `train_fiqa` does for a batch on a CPU is in it but the network's input and the network: shards read,
window drawn from, images decoded, augmented and put together. Bare: simplejpeg over the same bytes in memory, a run
before and a run after, in one process. The start of processes and the first window are left out: a run is hours long.
CPU microseconds an image are of the process that trains, of all processes, and of the busiest worker: where every
process has a core of its own, the last is what bounds the rate. They are what to go by where others use the machine.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from benchmarks.reading import bare_rate
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.data import ShardBatches
from fiqa_core.training.dataset_index import index_of_records
from fiqa_core.training.sequence import Share

_TICKS = os.sysconf("SC_CLK_TCK")


class Fed(NamedTuple):
    """`rate`: images/s; `own`, `workers`: CPU microseconds an image of the training process and of each worker."""

    rate: float
    own: float
    workers: list[float]


def main() -> None:
    """Measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2, help="that decode where there are no workers")
    parser.add_argument("--jitter", type=float, default=0)
    parser.add_argument("--degrade", type=float, default=0, help="probability of a degradation")
    arguments = parser.parse_args()
    paths = shards(arguments.shards)
    images = stored_images(paths)
    read, augment = ReadSettings(), Augmentation(jitter=arguments.jitter, degrade=arguments.degrade)
    with tempfile.TemporaryDirectory() as folder:
        units = plan_dataset([str(path) for path in paths], "auto", 4000, folder, read).units
        index = index_of_records(units, read)
        before = bare_rate(images, 1)
        found = {}
        for workers in arguments.workers:
            share = Share(0, arguments.batch, threads=arguments.threads, workers=workers)
            batches = ShardBatches(units, index, read, augment, share, shuffle=2000)
            found[workers] = fed(batches, arguments.batch, arguments.seconds)
        bare = (before + bare_rate(images, 1)) / 2
    print(f"{index.kept} images, batch {arguments.batch}, {augment}, {os.cpu_count()} cores")
    print("| | images/s | over bare | CPU us an image: training process | all | busiest worker |")
    print("|---|---|---|---|---|---|")
    print(f"| bare decoding, one process | {bare:,.0f} | 1.00 | | {1e6 / bare:.0f} | |")
    for workers, of in found.items():
        name = f"{workers} workers and the reader" if workers else f"in this process, {arguments.threads} threads"
        busiest = f"{max(of.workers):.0f}" if of.workers else ""
        total = of.own + sum(of.workers)
        print(f"| {name} | {of.rate:,.0f} | {of.rate / bare:.2f} | {of.own:.0f} | {total:.0f} | {busiest} |")


def fed(batches: ShardBatches, batch: int, seconds: float) -> Fed:
    """Take batches for some seconds, over as many epochs as it takes."""
    epoch, taken = 0, 0
    start = begun = cpu = 0.0
    others: list[float] = []
    try:
        while True:
            for _ in batches.epoch(epoch):
                if start:
                    taken += batch
                elif (begun := begun + 1) > 8:  # what lay ready, or was being made ready, is out of the count
                    start, cpu, others = time.perf_counter(), time.process_time(), _cpu_of(batches)
                if start and time.perf_counter() - start > seconds:
                    own = time.process_time() - cpu
                    beside = [1e6 * (now - then) / taken for then, now in zip(others, _cpu_of(batches), strict=True)]
                    return Fed(taken / (time.perf_counter() - start), 1e6 * own / taken, beside)
            epoch += 1
    finally:
        batches.close()


def _cpu_of(batches: ShardBatches) -> list[float]:
    """CPU seconds of each worker process so far."""
    stats = [Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split() for number in batches.worker_ids]
    return [(int(fields[11]) + int(fields[12])) / _TICKS for fields in stats]


if __name__ == "__main__":
    main()
