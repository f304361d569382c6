"""On a machine with a GPU: the network alone in each precision, and the whole command over it, in one run.

python -m benchmarks.gpu [--shards FOLDER] [--images 1000000] [--checkpoint FILE] [--batches 256 1024 4096]

1. The network alone, images/s: pixels lie ready in pinned memory, and a batch is begun while the last one is computed,
   as the scoring process does it. Scores are compared with fp32 on the same GPU: Spearman, and the largest difference
   in standard deviations.
2. The command on real JPEGs (the shards under other names until there are --images of them): as it chooses by itself,
   one process, worker processes with a network each, and one scoring process with and without torch.compile. `steady`:
   rows a second between the first and the last table file, so without start and end. Over the network alone in the same
   precision at batch 256.

Training is measured by `python -m benchmarks.training_input`.
Without a GPU it runs on the CPU with --device cpu, to see that it runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards, stored_images
from benchmarks.feeding import steady_rate
from benchmarks.reading import link_copies
from fiqa_core import QualityScorer
from tests.shared import write_golden_checkpoint

_FACES = 256  # compared one by one with fp32
_SECONDS = 5.0  # a measurement of the network alone


class Alone(NamedTuple):
    """Images/s of the network alone, rank agreement with fp32, largest difference in standard deviations."""

    rate: float
    spearman: float
    difference: float


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--checkpoint", help="default: the parity tests' stand-in weights of vit_s, mode token")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "tf32", "bf16", "fp16", "fp16 compiled"])
    arguments = parser.parse_args()
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "CPU"
    print(f"{name}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint = arguments.checkpoint or str(write_golden_checkpoint("vit_s-token", folder / "model.pt"))
        alone = networks(arguments, checkpoint)
        commands(arguments, checkpoint, folder, alone)


def networks(arguments: argparse.Namespace, checkpoint: str) -> dict[str, Alone]:
    """The table of the network alone; at the first batch size, by precision."""
    faces = pixels(shards(arguments.shards), _FACES)
    exact = QualityScorer.from_checkpoint(checkpoint, device=arguments.device, precision="fp32")
    expected = exact.score_pixels(faces).quality
    found: dict[str, Alone] = {}
    print("| network alone | " + " | ".join(f"batch {size}" for size in arguments.batches) + " | Spearman | max/sd |")
    print("|---|" + "---|" * (len(arguments.batches) + 2))
    for kind in arguments.precisions:
        precision, _, compiled = kind.partition(" ")
        rates = []
        for size in arguments.batches:
            scorer = QualityScorer.from_checkpoint(
                checkpoint,
                device=arguments.device,
                precision=precision,
                batch_size=size,
                compiled=bool(compiled),
            )
            rates.append(alone_rate(scorer, faces, size))
        scores = scorer.score_pixels(faces).quality
        difference = float(np.abs(scores - expected).max() / expected.std())
        found[kind] = Alone(rates[0], spearman(scores, expected), difference)
        shown = " | ".join(f"{rate:,.0f}" for rate in rates)
        print(f"| {kind} | {shown} | {found[kind].spearman:.5f} | {difference:.5f} |", flush=True)
    return found


def alone_rate(scorer: QualityScorer, faces: np.ndarray, size: int) -> float:
    """Images/s of batches that lie ready, three under way at once."""
    batch = torch.from_numpy(np.resize(faces, (size, *faces.shape[1:])))
    ready = (batch.pin_memory() if scorer.device.type == "cuda" else batch).numpy()
    scorer.begin(ready)()
    started, done, pending = time.perf_counter(), 0, [scorer.begin(ready)]
    while time.perf_counter() - started < _SECONDS:
        pending.append(scorer.begin(ready))
        if len(pending) == 3:
            pending.pop(0)()
            done += size
    for result in pending:
        result()
        done += size
    return done / (time.perf_counter() - started)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank agreement of two arrays."""
    ranks = [np.argsort(np.argsort(each)) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def commands(arguments: argparse.Namespace, checkpoint: str, folder: Path, alone: dict[str, Alone]) -> None:
    """The table of the whole command."""
    paths = shards(arguments.shards)
    repeat = max(1, round(arguments.images / len(stored_images(paths))))
    link_copies(paths, folder / "shards", repeat)
    cores = os.cpu_count() or 1
    workers = ["--workers", str(max(2, cores - 1))]
    half = "fp16" if arguments.device.startswith("cuda") else "fp32"
    kinds: dict[str, list[str]] = {
        "as the command chooses": [],
        "one process": ["--workers", "1", "--compile", "off"],
        "worker processes, a network in each": [*workers, "--scoring-process", "off", "--compile", "off"],
        "one scoring process": [*workers, "--scoring-process", "on", "--compile", "off"],
        "one scoring process, compiled": [*workers, "--scoring-process", "on", "--compile", "on"],
    }
    print(f"\n| the command, {repeat * len(paths)} shards | images/s, whole run | steady | over the network alone |")
    print("|---|---|---|---|")
    for number, (kind, options) in enumerate(kinds.items()):
        output = folder / f"out{number}"
        command = [sys.executable, "-m", "pipelines.score_dataset", "--input", str(folder / "shards"), "--output"]
        command += [
            str(output),
            "--model",
            checkpoint,
            "--device",
            arguments.device,
            "--precision",
            half,
            *options,
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        steady, rows = steady_rate(output)
        whole = rows / (time.perf_counter() - started)
        limit = alone.get(f"{half} compiled" if "compiled" in kind else half)
        ratio = "" if limit is None else f"{steady / limit.rate:.3f}"
        print(f"| {kind} | {whole:,.0f} | {steady:,.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
