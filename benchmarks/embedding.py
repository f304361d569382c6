"""Images/s of embed_dataset over bare onnxruntime on the same pixels and threads; and the cost of a phash.

python -m benchmarks.embedding --model FILE.onnx [--shards FOLDER] [--images 1000] [--rounds 3] [-- --onnx-std 128 ...]

Bare: `session.run` on normalised float32 input that lies ready. Options after `--` go to embed_dataset; the
normalisation costs the bare network nothing, so only --onnx-layout, -size, -output and -batch would matter to it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.command import one_shard
from benchmarks.faces import DEFAULT_SHARDS, pixels, shards, stored_images
from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.resize import to_network_size
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import read_onnx
from fiqa_core.scoring.onnx_scorer import DEFAULT_BATCH


def main() -> None:
    """Bare network and command in turn; print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("options", nargs="*", help="of embed_dataset")
    arguments = parser.parse_args()
    paths = shards(arguments.shards)
    faces = pixels(paths, min(arguments.images, 512))
    found = OnnxNetwork(read_onnx(arguments.model), OnnxOptions()).input
    batch = found.batch or DEFAULT_BATCH["cpu"]
    session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
    fed = np.stack([to_network_size(face, found.size) for face in faces]).astype(np.float32) / 127.5 - 1
    fed = np.ascontiguousarray(fed.transpose(0, 3, 1, 2) if found.layout == "nchw" else fed)
    bare: list[float] = []
    own: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        shard = one_shard(stored_images(paths, arguments.images), Path(name) / "faces.tar")
        for number in range(arguments.rounds):
            bare.append(bare_rate(session, fed, batch))
            output = Path(name) / f"out{number}"
            command = ["--input", str(shard), "--output", str(output), "--model", arguments.model, "--device", "cpu"]
            program = [sys.executable, "-m", "pipelines.embed_dataset", *command, *arguments.options]
            subprocess.run(program, check=True, capture_output=True)
            own.append(float(json.loads((output / "summary.json").read_text())["images_per_second"]))
    print(f"{Path(arguments.model).name}, {arguments.images} images, batch {batch}, {arguments.rounds} rounds in turn")
    print("| | images/s, median | over bare |\n|---|---|---|")
    print(f"| bare onnxruntime {onnxruntime.__version__} | {np.median(bare):.1f} | 1.00 |")
    print(f"| the command's own figure | {np.median(own):.1f} | {np.median(own) / np.median(bare):.3f} |")
    started = time.perf_counter()
    for face in faces:
        perceptual_hash(face)
    print(f"phash: {(time.perf_counter() - started) / len(faces) * 1e6:.0f} microseconds an image")


def bare_rate(session: onnxruntime.InferenceSession, fed: np.ndarray, batch: int) -> float:
    """Images/s of the network alone, in whole batches."""
    name = session.get_inputs()[0].name
    starts = range(0, len(fed) - batch + 1, batch)
    session.run(None, {name: fed[:batch]})
    started = time.perf_counter()
    for start in starts:
        session.run(None, {name: fed[start : start + batch]})
    return len(starts) * batch / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
