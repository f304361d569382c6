"""(c) Images/s of the command without a network over bare JPEG decoding, and against a DataLoader over webdataset.

python -m benchmarks.reading [--shards FOLDER] [--repeat 6]

Bare decoding: the same stored bytes, in memory, by the same decoder (simplejpeg), in one process and in two.
The command's figure is its own (`summary.json`: from the start of the pipeline to the table). The peer is what
training scripts use: torch DataLoader over `webdataset` with Pillow, at its best number of workers.
"""

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images

CORES = os.cpu_count() or 1
COMMANDS: dict[str, list[str]] = {
    "command, one process": [],
    f"command, {CORES} processes": [
        "--direct_running_mode", "multi_processing", "--direct_num_workers", str(CORES), "--decode-threads", "1",
    ],
}  # fmt: skip


def main() -> None:
    """Measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--repeat", type=int, default=6, help="times that each shard is read, under other names")
    arguments = parser.parse_args()
    paths = shards(arguments.shards)
    images = stored_images(paths)
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        linked = link_copies(paths, folder / "shards", arguments.repeat)
        rates["bare decoding, one process"] = bare_rate(images, 1)
        rates[f"bare decoding, {CORES} processes"] = bare_rate(images, CORES)
        for kind, options in COMMANDS.items():
            rates[kind] = command_rate(linked[0].parent, folder / kind.replace(" ", "_"), options)
        for workers in range(1, CORES + 2):
            rates[f"DataLoader over webdataset, {workers} workers"] = loader_rate(linked, workers)
        rates["bare decoding, one process"] = (rates["bare decoding, one process"] + bare_rate(images, 1)) / 2
    peer = max(rate for kind, rate in rates.items() if kind.startswith("DataLoader"))
    bare = [rates["bare decoding, one process"], rates[f"bare decoding, {CORES} processes"]]
    print(f"{len(images) * arguments.repeat} images of {sum(map(len, images)) // len(images)} bytes, {CORES} cores")
    print(
        f"| | images/s | over bare, 1 process | over bare, {CORES} | over the best DataLoader |\n|---|---|---|---|---|"
    )
    for kind, rate in rates.items():
        print(f"| {kind} | {rate:,.0f} | {rate / bare[0]:.2f} | {rate / bare[1]:.2f} | {rate / peer:.2f} |")


def link_copies(paths: list[Path], folder: Path, times: int) -> list[Path]:
    """The shards under several names, so that a run is long enough to measure."""
    folder.mkdir()
    for copy in range(times):
        for path in paths:
            (folder / f"{copy:03d}-{path.name}").symlink_to(path)
    return sorted(folder.iterdir())


def decode_all(images: list[bytes]) -> None:
    for data in images:
        simplejpeg.decode_jpeg(data, "RGB")


def bare_rate(images: list[bytes], processes: int) -> float:
    """Images/s of the decoder alone; every process decodes all of the images."""
    if processes == 1:
        started = time.perf_counter()
        decode_all(images)
        return len(images) / (time.perf_counter() - started)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=decode_all, args=(images,)) for _ in range(processes)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return processes * len(images) / (time.perf_counter() - started)


def command_rate(folder: Path, output: Path, options: list[str]) -> float:
    """Images/s as the command itself reports them."""
    command = [sys.executable, "-m", "benchmarks.no_op", "--input", str(folder), "--output", str(output), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return float(json.loads((output / "summary.json").read_text())["images_per_second"])


def decode_with_pillow(data: bytes) -> np.ndarray:
    """uint8 (H, W, 3) RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def loader_rate(paths: list[Path], workers: int) -> float:
    """Images/s of a DataLoader, batches of 64, its start-up left out."""
    source = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    data = source.to_tuple("jpg").map_tuple(decode_with_pillow)
    loader = torch.utils.data.DataLoader(data, batch_size=64, num_workers=workers)
    batches = iter(loader)
    next(batches)
    started = time.perf_counter()
    count = sum(len(batch[0]) for batch in batches)
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
