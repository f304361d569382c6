"""(b) Images/s of the scorer over a straightforward implementation of the same network at batch 16.

python -m benchmarks.network [--shards FOLDER] [--checkpoint FILE] [--images 320]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards
from benchmarks.plain_vit import PlainViT
from fiqa_core import QualityScorer
from fiqa_core.networks.checkpoint_files import read_checkpoint_file
from tests.shared import write_golden_checkpoint

BATCHES = (4, 8, 16, 32)
ROUNDS = 5


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--checkpoint", help="a vit_s in mode token (default: the parity tests' stand-in weights)")
    parser.add_argument("--images", type=int, default=320)
    arguments = parser.parse_args()
    faces = pixels(shards(arguments.shards), arguments.images)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or str(write_golden_checkpoint("vit_s-token", Path(folder) / "model.pt"))
        plain = PlainViT().eval()
        plain.load_state_dict(read_checkpoint_file(checkpoint).tensors, strict=False)
        fp32 = QualityScorer.from_checkpoint(checkpoint, device="cpu")
        int8 = QualityScorer.from_checkpoint(checkpoint, device="cpu", precision="int8")
    reference = np.concatenate([plain_scores(plain, faces[i : i + 16]) for i in range(0, len(faces), 16)])
    for name, scorer in (("fp32", fp32), ("int8", int8)):
        scores = scorer.score_pixels(faces).quality
        difference = np.abs(scores - reference).max() / reference.std()
        print(
            f"{name}: Spearman against the plain network {spearman(scores, reference):.5f}, largest difference "
            f"{difference:.2g} of the scores' standard deviation ({len(faces)} faces)"
        )
    print_rates(plain, fp32, int8, faces)


def print_rates(plain: PlainViT, fp32: QualityScorer, int8: QualityScorer, faces: np.ndarray) -> None:
    """Everything in turn, `ROUNDS` times, so that a machine that drifts drifts for all alike."""
    works: dict[str, tuple[int, Callable[[], object]]] = {
        "plain, batch 16": (16, lambda: plain_scores(plain, faces[:16]))
    }
    for name, scorer in (("fp32", fp32), ("int8", int8)):
        for size in BATCHES:
            works[f"{name}, batch {size}"] = (size, lambda s=scorer, n=size: at_batch(s, faces[:n]))  # type: ignore[misc]
    rates: dict[str, list[float]] = {name: [] for name in works}
    for round_number in range(ROUNDS + 1):
        for name, (size, work) in works.items():
            started = time.perf_counter()
            work()
            if round_number:  # the first one warms up
                rates[name].append(size / (time.perf_counter() - started))
    base = float(np.median(rates["plain, batch 16"]))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    print("| | images/s, median | over plain |\n|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {np.median(found):.2f} | {np.median(found) / base:.2f} |")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the ranks."""
    return float(pd.DataFrame({"a": a, "b": b}).rank().corr().loc["a", "b"])


def at_batch(scorer: QualityScorer, faces: np.ndarray) -> object:
    """Score in one batch."""
    scorer.batch_size = len(faces)
    return scorer.score_pixels(faces)


@torch.no_grad()
def plain_scores(network: PlainViT, faces: np.ndarray) -> np.ndarray:
    """Quality, float32 (B,)."""
    x = (torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    quality: np.ndarray = network(x)[1].flatten().numpy()
    return quality


if __name__ == "__main__":
    main()
