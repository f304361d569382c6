"""Does cleaning help? A small network trained on faces with planted wrong labels, cleaned and not, and on cut faces.

    python -m benchmarks.benefit --output FOLDER [--flips 0.2 0.4 0.1] [--shares 0.1 0.3] [--seeds 3] [--side 48]
        [--epochs 8] [--conditions product oracle ...] [--input 'shards/*.tar' [--verify 'others/*.tar']]

The conditions are listed in `benefit_conditions.py`, the network and its training in `benefit_training.py`. Each
network is measured on people whom no training saw (`benefit_verification.py`). Cleaning is done by the package's own
commands: `score` once, `embed` once, and `filter` for each set of labels.

The recogniser that cleans (MobileFaceNet of a million photographs, unless --embeddings names another table) is far
stronger than the network that is trained. So the benchmark answers whether a user who has a good recogniser gains by
cleaning a dataset for a network of his own; it says nothing about cleaning by a network no better than that one.

Each finished training is a file in FOLDER/trainings; the same command goes on where an earlier one stopped. --tables
prints the tables of what is there.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.benefit_cleaning import Product
from benchmarks.benefit_conditions import (
    FLIPS,
    QUALITY,
    Cut,
    Job,
    flips_cut,
    jobs,
    planted,
    quality_cut,
)
from benchmarks.benefit_faces import Faces, embedded, held_out, read_scored, scored
from benchmarks.benefit_results import is_done, read, store, tables, write_whole
from benchmarks.benefit_training import Recipe, embed, steps_of, train
from benchmarks.benefit_verification import Verification
from benchmarks.faces import DEFAULT_SHARDS

MODEL = DEFAULT_SHARDS.parent / "models" / "fr_mobilefacenet.onnx"
CONDITIONS = tuple(dict.fromkeys((*FLIPS[1:], *QUALITY)))


def run(arguments: argparse.Namespace) -> None:
    """Make every training that is not there yet."""
    recipe = Recipe(arguments.side, epochs=arguments.epochs)
    _same_settings(arguments, recipe)
    wanted = list(_jobs(arguments))
    missing = [job for job in wanted if not is_done(arguments.output, job)]
    print(f"{len(wanted)} trainings, {len(wanted) - len(missing)} of them done", flush=True)
    if not missing:
        return
    faces, verified = _faces(arguments, recipe)
    product = Product(faces, arguments.output / "scores", _embeddings(arguments, missing), arguments.output / "filters")
    people, names = len(np.unique(verified.labels)), verified.labels.tolist()
    verification = Verification(names, arguments.per_identity, arguments.impostors, arguments.bootstrap)
    genuine = int(verification.pairs.mated.sum())
    print(
        f"training: {len(faces):,} faces of {len(np.unique(faces.labels)):,} identities; verification: {people:,} "
        f"other identities, {genuine:,} genuine and {len(verification.pairs) - genuine:,} impostor pairs",
        flush=True,
    )
    for job in missing:
        if is_done(arguments.output, job):  # by another process meanwhile
            continue
        started = time.perf_counter()
        cut = _cut(job, faces, product, arguments.threshold)
        classes = np.unique(cut.labels, return_inverse=True)[1]
        pixels = faces.pixels[cut.rows]
        network = train(pixels, classes, cut.weights, steps_of(recipe, len(faces)), recipe, job.seed)
        measured = verification.measure(embed(network, verified.pixels[verification.rows]))
        seconds = time.perf_counter() - started
        store(arguments.output, job, {**counts(job, cut, faces), "seconds": seconds}, measured)
        print(f"{job.name}: {len(cut.rows):,} faces, AUC {measured.values[0]:.4f}, {seconds:.0f} s", flush=True)


def _jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    return jobs(arguments.flips, arguments.shares, seeds, arguments.conditions, arguments.threshold)


def counts(job: Job, cut: Cut, faces: Faces) -> dict[str, float]:
    """What the condition did: faces and wrong labels that are left; of a cleaner, precision and recall of the flips
    that it dropped or relabelled, and how many new labels are right."""
    given = planted(faces.labels, job.share, job.seed) if job.kind == "flips" else faces.labels
    flipped = given != faces.labels
    touched = np.ones(len(faces), bool)
    touched[cut.rows] = cut.labels != given[cut.rows]
    right = cut.labels == faces.labels[cut.rows]
    new = cut.labels != given[cut.rows]
    hits = int((touched & flipped).sum())
    is_cleaner = job.condition in ("product", "corrected")
    return {
        "images": len(cut.rows),
        "identities": len(np.unique(cut.labels)),
        "dropped": len(faces) - len(cut.rows),
        "flipped": int(flipped.sum()),
        "wrong_left": int((~right).sum()),
        "relabelled": int(new.sum()),
        "relabelled_right": int((new & right).sum()),
        "precision": hits / max(int(touched.sum()), 1) if is_cleaner else np.nan,
        "recall": hits / max(int(flipped.sum()), 1) if is_cleaner else np.nan,
    }


def _cut(job: Job, faces: Faces, product: Product, threshold: float | None) -> Cut:
    if job.kind == "flips":
        return flips_cut(job, faces, product)
    return quality_cut(job, faces, product, threshold)


def _faces(arguments: argparse.Namespace, recipe: Recipe) -> tuple[Faces, Faces]:
    """Training faces, and those of other identities for verification."""
    faces = read_scored(scored(arguments.input, arguments.output / "scores"), recipe.side, arguments.least_images)
    if arguments.verify:
        verified = read_scored(scored(arguments.verify, arguments.output / "verification"), recipe.side, 2)
        shared = np.intersect1d(faces.labels, verified.labels)
        if len(shared):
            raise SystemExit(f"--verify: {len(shared)} identities are in --input too, {shared[0]!r} first; give others")
    else:
        faces, verified = held_out(faces, arguments.hold_out)
    return faces, verified


def _embeddings(arguments: argparse.Namespace, missing: list[Job]) -> Path | None:
    if arguments.embeddings or not any(job.needs_embeddings for job in missing):
        return Path(arguments.embeddings) if arguments.embeddings else None
    options = ("--network", arguments.recogniser, "--model", str(arguments.recogniser_model))
    return embedded(arguments.input, arguments.output / "embeddings", options)


def _same_settings(arguments: argparse.Namespace, recipe: Recipe) -> None:
    """Trainings of one folder are compared, so they must be of one kind."""
    names = ("input", "verify", "hold_out", "least_images", "per_identity", "impostors", "bootstrap", "threshold")
    settings = {name: getattr(arguments, name) for name in names} | asdict(recipe)
    text = json.dumps(settings, indent=1, default=str)
    path = arguments.output / "settings.json"
    if path.exists() and path.read_text() != text:
        raise SystemExit(f"{path}: the trainings there were made with other settings; give another --output")
    if not path.exists():
        write_whole(path, text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--input", nargs="+", help="labelled faces to train on (default: LFW's train split in shared/)")
    made.add_argument("--verify", nargs="+", help="labelled faces of other people (default: some of --input)")
    made.add_argument("--hold-out", type=float, default=0.2, help="without --verify: share of the identities")
    made.add_argument("--flips", type=float, nargs="*", default=[0.2, 0.4, 0.1], help="shares of flipped labels")
    made.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.3], help="shares of faces cut by quality")
    made.add_argument("--threshold", type=float, default=0.43, help="least quality; the default cuts 1 %% of LFW")
    made.add_argument("--conditions", nargs="*", choices=CONDITIONS, default=list(CONDITIONS), metavar="NAME")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--first-seed", type=int, default=0, help="several processes may share the seeds of one --output")
    made.add_argument("--side", type=int, default=Recipe.side, help="pixels of the trained network's input")
    made.add_argument("--epochs", type=int, default=Recipe.epochs)
    made.add_argument("--least-images", type=int, default=2, help="of an identity, to be trained on")
    made.add_argument("--per-identity", type=int, default=10, help="most images of a person in pairs; 0: all")
    made.add_argument("--impostors", type=int, default=200_000, help="most impostor pairs")
    made.add_argument("--bootstrap", type=int, default=200, help="resamples of the subjects")
    made.add_argument("--embeddings", help="output of embed_dataset for --input, by the recogniser that cleans")
    made.add_argument("--recogniser", default="mobilefacenet", help="otherwise: its name (`fiqa networks`) ...")
    made.add_argument("--recogniser-model", type=Path, default=MODEL, help="... and its file")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--tables", action="store_true", help="train nothing, print what is there")
    return made


def main(words: list[str] | None = None) -> None:
    """Parse, train, print the tables."""
    arguments = parser().parse_args(words)
    if arguments.input is None:
        arguments.input = [str(DEFAULT_SHARDS / "train-*.tar")]
        arguments.verify = arguments.verify or [str(DEFAULT_SHARDS / "test-*.tar")]
    torch.set_num_threads(arguments.threads)
    if not arguments.tables:
        run(arguments)
    print("\n".join(tables(read(arguments.output))))


if __name__ == "__main__":
    main()
