"""Label noise and near duplicates of a made table: wall clock, CPU and peak memory of the whole search.

    python -m benchmarks.findings [--images 100000 300000 1000000] [--identities-per-1000 85] [--dim 512]
        [--crowd 0]

The table is seeded and written file by file. Identities are random directions; an image has a cosine of 0.67 to 0.96
with its own, so that some of the pairs of one identity are near enough for their thumbnails to be compared (which are
made, and those of an identity alike). Of the images 5 % have another identity's label, and 2 % nearly repeat an earlier
image (cosine 0.96 to 0.99, thumbnail with noise), half of them under another label. The search runs in a process of its
own, and finds what was planted: the recall of both is printed beside its cost.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.quality import THUMB_BYTES, quality_schema

ROWS_A_FILE = 10_000
WRONG, REPEATED = 0.05, 0.02


def write_table(folder: Path, images: int, identities: int, dim: int, crowd: float = 0, seed: int = 0) -> None:
    """`quality/*.parquet` and, for the measuring, `truth-*.npz` of each file."""
    (folder / "quality").mkdir(parents=True)
    people = unit(np.random.default_rng(seed).standard_normal((identities, dim), np.float32))
    for number, first in enumerate(range(0, images, ROWS_A_FILE)):
        random = np.random.default_rng([seed, number])
        rows = min(ROWS_A_FILE, images - first)
        person = random.integers(identities, size=rows)
        spread = random.uniform(0.3, 1.1, (rows, 1)).astype(np.float32)
        vectors = unit(people[person] + noise(random, rows, dim, 1) * spread)
        thumbs = thumbnails(random, person)
        copies = np.flatnonzero(random.random(rows) < REPEATED)
        copies = copies[copies > 0]
        of = (copies * random.random(len(copies))).astype(np.int64)
        alone = ~np.isin(of, copies)
        copies, of = copies[alone], of[alone]
        person[copies] = person[of]
        vectors[copies] = unit(vectors[of] + noise(random, len(of), dim, 0.2))
        thumbs[copies] = (thumbs[of] + random.normal(0, 2, (len(of), THUMB_BYTES))).clip(0, 255)
        label = person.copy()
        moved = random.random(rows) < WRONG
        moved[copies] = random.random(len(copies)) < 0.5
        label[moved] = random.integers(identities, size=int(moved.sum()))
        in_crowd = random.random(rows) < crowd
        label[in_crowd] = identities
        write_file(folder / "quality" / f"part-{number:06d}.parquet", first, label, vectors, thumbs, random)
        wrong = np.where(in_crowd, np.nan, label != person)
        np.savez(folder / f"truth-{number:06d}.npz", wrong=wrong, a=first + of, b=first + copies)


def noise(random: np.random.Generator, rows: int, dim: int, length: float) -> np.ndarray:
    """Random vectors of about this length, float32 (rows, dim)."""
    return random.standard_normal((rows, dim), np.float32) * np.float32(length / dim**0.5)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def thumbnails(random: np.random.Generator, person: np.ndarray) -> np.ndarray:
    """Smooth pictures uint8 (rows, 1024); of two of one person about one pair in five agrees coarsely, as on LFW."""
    of_person = [np.random.default_rng([1, one]).standard_normal((8, 8)) for one in person.tolist()]
    coarse = (1.45 * np.stack(of_person) + random.standard_normal((len(person), 8, 8))).astype(np.float32)
    grey = np.stack([cv2.resize(some, (32, 32), interpolation=cv2.INTER_CUBIC) for some in coarse])
    return (128 + 25 * grey).clip(0, 255).astype(np.uint8).reshape(-1, THUMB_BYTES)


def write_file(
    path: Path, first: int, label: np.ndarray, vectors: np.ndarray, thumbs: np.ndarray, random: np.random.Generator
) -> None:
    """One quality file with embeddings, hashes (which are not used) and thumbnails."""
    rows, dim = vectors.shape
    schema = quality_schema("float16", dim, phash=True, storage=False)
    flat = pa.array(vectors.astype(np.float16).ravel())
    columns = {
        "key": [f"{first + place:08d}" for place in range(rows)],
        "shard": pa.repeat("made", rows),
        "index": np.arange(first, first + rows),
        "label": [str(value) for value in label.tolist()],
        "quality": random.random(rows, np.float32),
        "status": pa.array(["scored"] * rows).dictionary_encode(),
        "message": pa.nulls(rows, pa.string()),
        "width": np.full(rows, 112, np.int32),
        "height": np.full(rows, 112, np.int32),
        "sha256": [random.bytes(32) for _ in range(rows)],
        "phash": pa.nulls(rows, pa.string()),
        "thumb": [row.tobytes() for row in thumbs],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
    }
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def search(folder: Path, output: Path, options: list[str]) -> None:
    """The child: search, measure itself, print one JSON object."""
    from fiqa_core.curation.findings.settings import FindingsSettings
    from fiqa_core.tables.embedding_files import EmbeddingSource
    from fiqa_core.tables.quality_files import find_parts
    from pipelines.jobs.findings_job import find
    from pipelines.runners.beam_options import beam_options

    started = time.perf_counter()
    parts = find_parts([str(folder)])
    own = sum(part.rows for part in parts)
    found = find(parts, own, EmbeddingSource(), FindingsSettings(), str(output), beam_options(options, []))
    wall = time.perf_counter() - started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        json.dumps(
            {
                "images": own,
                "identities": found.counts["judged_identities"],
                "cells": found.counts["cells"],
                "pairs": found.counts["pairs_picture"],
                "left_out": found.counts["pairs_left_out"],
                "wall_s": round(wall, 1),
                "cpu_s": round(sum(some.ru_utime + some.ru_stime for some in used), 1),
                "peak_mib": round(used[0].ru_maxrss / 1024),
                "peak_mib_of_largest_child": round(used[1].ru_maxrss / 1024),
            }
            | recalls(folder, found.labels, found.pairs)
        )
    )


def recalls(folder: Path, labels: tuple[str, ...], pairs: tuple[str, ...]) -> dict[str, float]:
    """Shares of what was planted that was found, and the precision of the verdicts."""
    truth = [np.load(path) for path in sorted(folder.glob("truth-*.npz"))]
    wrong = np.concatenate([some["wrong"] for some in truth])
    planted = np.concatenate([some["a"] for some in truth]) * len(wrong) + np.concatenate([some["b"] for some in truth])
    said = np.zeros(len(wrong), bool)
    for url in labels:
        table = pq.read_table(url, columns=["rid", "label_verdict"])
        said[table["rid"].to_numpy()] = table["label_verdict"].to_numpy() == "wrong_label"
    tables = [pq.read_table(url, columns=["a", "b"]) for url in pairs]
    found = np.concatenate([table["a"].to_numpy() * len(wrong) + table["b"].to_numpy() for table in tables])
    return {
        "label_noise_precision": round(float(np.nanmean(wrong[said])), 4),
        "label_noise_recall": round(float(said[wrong == 1].mean()), 4),
        "near_recall": round(float(np.isin(planted, found).mean()), 4),
        "near_precision": round(float(np.isin(found, planted).mean()), 4),
    }


def main() -> None:
    """Make a table for each size, search it in a child, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--identities-per-1000", type=int, default=85)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--crowd", type=float, default=0, help="share of the images that lie under one label")
    parser.add_argument("--folder", type=Path, help="where to make the tables (default: the machine's temporary files)")
    parser.add_argument("--search", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.search:
        search(*arguments.search, options)
        return
    for images in arguments.images:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            people = images * arguments.identities_per_1000 // 1000
            write_table(folder / "table", images, people, arguments.dim, arguments.crowd)
            command = [sys.executable, "-m", "benchmarks.findings", "--search", str(folder / "table")]
            subprocess.run([*command, str(folder / "out"), *options], check=True, env=os.environ)


if __name__ == "__main__":
    main()
