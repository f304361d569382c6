"""Time of a ViT's exits and fusions, and how well they rank faces as the last block does.

python -m benchmarks.exits [--shards FOLDER] [--model FILE] [--images 1000] [--cpu-time]

Ranks need trained weights: by default those of the network in this package (3 blocks). Time does not: it is measured
with a vit_s (12 blocks) of the parity tests' stand-in weights, on one batch, every exit in turn, the fastest of
some rounds (which a loaded machine disturbs least).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards
from benchmarks.network import spearman
from fiqa_core import QualityScorer
from fiqa_core.models import EMBEDDED
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.exits import Exits, Fuse
from fiqa_core.scoring.every_exit import EveryExitScorer
from tests.shared import write_golden_checkpoint

BATCH = 8
ROUNDS = 6
WORST = 0.05
FUSES: tuple[Fuse, ...] = ("mean", "depth")


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--model", default=EMBEDDED, help="trained weights, for the ranks")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="seconds of the processor instead of the clock, for a machine that others use",
    )
    arguments = parser.parse_args()
    faces = pixels(shards(arguments.shards), arguments.images)
    print_ranks(arguments.model, faces)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(write_golden_checkpoint("vit_s-token", Path(folder) / "model.pt"))
        for precision in ("fp32", "int8"):
            print_times(checkpoint, precision, faces[:BATCH], arguments.cpu_time)


def print_ranks(model: str, faces: np.ndarray) -> None:
    """Spearman with the last block, and the share of equal decisions when the worst 5 % are dropped."""
    scorer = EveryExitScorer(load_checkpoint(model, embeddings=False), "cpu", "fp32", None)
    found = scorer.score_pixels(faces)
    exits = np.asarray(found.embedding)
    depth = exits.shape[1]
    rows = {f"exit {number}": exits[:, number - 1] for number in range(1, depth + 1)}
    for fuse in FUSES:
        weights = Exits(fuse=fuse).weights(depth)
        rows[fuse] = exits @ np.array([weights[number] for number in range(1, depth + 1)], np.float32)
    last = exits[:, -1]
    print(f"{model}: {scorer.loaded.arch}, {depth} blocks, {len(faces)} faces")
    print(f"| | Spearman with the last | equal decisions, worst {100 * WORST:g} % dropped |\n|---|---|---|")
    for name, scores in rows.items():
        print(f"| {name} | {spearman(scores, last):.3f} | {100 * (worst(scores) == worst(last)).mean():.1f} % |")


def worst(scores: np.ndarray) -> np.ndarray:
    """Whether each is among the worst, bool (N,)."""
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(scores, kind="stable")[: int(WORST * len(scores))]] = True
    return chosen


def print_times(checkpoint: str, precision: str, faces: np.ndarray, cpu_time: bool = False) -> None:
    """Time of one batch at each exit, as a share of the last block's."""
    choices = {f"exit {number}": Exits(number) for number in (3, 6, 8, 10)}
    choices |= {"the last (12)": Exits()} | {f"fuse {fuse}": Exits(fuse=fuse) for fuse in FUSES}
    scorers = {
        name: QualityScorer.from_checkpoint(
            checkpoint, device="cpu", precision=precision, batch_size=BATCH, exit=exits.exit, fuse=exits.fuse
        )
        for name, exits in choices.items()
    }
    clock = time.process_time if cpu_time else time.perf_counter
    best = dict.fromkeys(scorers, float("inf"))
    for _ in range(ROUNDS):
        for name, scorer in scorers.items():
            started = clock()
            scorer.score_pixels(faces)
            best[name] = min(best[name], clock() - started)
    whole = best["the last (12)"]
    of = ", processor time" if cpu_time else ""
    print(f"vit_s, stand-in weights, {precision}, {torch.get_num_threads()} threads, batch {len(faces)}{of}")
    print("| | ms an image | times as fast as the last |\n|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {1000 * seconds / len(faces):.1f} | {whole / seconds:.2f} |")


if __name__ == "__main__":
    main()
