"""(a) Images/s of the whole command over the bare network's, on the same threads.

python -m benchmarks.command [--shards FOLDER] [--checkpoint FILE] [--images 1000] [--precision fp32]
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards, stored_images
from fiqa_core import QualityScorer
from tests.shared import write_golden_checkpoint

BATCHES = (4, 8, 16, 32)


def main() -> None:
    """Bare network, command, bare network again; print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--checkpoint", help="default: the parity tests' stand-in weights of vit_s, mode token")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    paths = shards(arguments.shards)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = arguments.checkpoint or str(write_golden_checkpoint("vit_s-token", folder / "model.pt"))
        shard = one_shard(stored_images(paths, arguments.images), folder / "faces.tar")
        faces = pixels(paths, arguments.images // 2)
        scorer = QualityScorer.from_checkpoint(checkpoint, device="cpu", precision=arguments.precision)
        scorer.batch_size = max(BATCHES, key=lambda size: bare_rate(scorer, faces[: 4 * max(BATCHES)], size))
        before = bare_rate(scorer, faces, scorer.batch_size)
        started = time.perf_counter()
        command = ["--input", str(shard), "--output", str(folder / "out"), "--model", checkpoint]
        command += ["--device", "cpu", "--precision", arguments.precision, "--batch-size", str(scorer.batch_size)]
        subprocess.run([sys.executable, "-m", "pipelines.score_dataset", *command], check=True)
        wall = time.perf_counter() - started
        after = bare_rate(scorer, faces, scorer.batch_size)
        summary = json.loads((folder / "out" / "summary.json").read_text())
    bare, own = (before + after) / 2, float(summary["images_per_second"])
    print(f"bare network, {arguments.precision}, batch {scorer.batch_size}: {before:.2f} before, {after:.2f} after")
    print("| | images/s | over bare |\n|---|---|---|")
    print(f"| bare network | {bare:.2f} | 1.00 |")
    print(f"| the command's own figure | {own:.2f} | {own / bare:.3f} |")
    print(f"| with start-up, wall clock | {arguments.images / wall:.2f} | {arguments.images / wall / bare:.3f} |")


def bare_rate(scorer: QualityScorer, faces: np.ndarray, batch: int) -> float:
    """Images/s of the network alone on pixels that lie ready."""
    scorer.batch_size = batch
    scorer.score_pixels(faces[:batch])
    started = time.perf_counter()
    scorer.score_pixels(faces)
    return len(faces) / (time.perf_counter() - started)


def one_shard(images: list[bytes], path: Path) -> Path:
    """A WebDataset tar of these images."""
    with tarfile.open(path, "w") as archive:
        for number, data in enumerate(images):
            member = tarfile.TarInfo(f"{number:08d}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


if __name__ == "__main__":
    main()
