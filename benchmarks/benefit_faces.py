"""The faces of `benchmarks.benefit`: rows of a scored dataset, their labels, and pixels at the size of training."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from fiqa_core.tables import load_quality, read_faces
from pipelines import embed_dataset, score_dataset

_COLUMNS = ("key", "shard", "index", "label", "quality", "status", "sha256")


@dataclass(frozen=True)
class Faces:
    """Labelled faces, one row each: `keys`, `labels` and `digests` (SHA-256, hexadecimal) text, `quality` float32,
    `pixels` uint8 (N, side, side, 3)."""

    keys: np.ndarray
    labels: np.ndarray
    digests: np.ndarray
    quality: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: np.ndarray) -> "Faces":
        """Some rows (places, or a mask)."""
        parts = (self.keys, self.labels, self.digests, self.quality, self.pixels)
        return Faces(*(part[rows] for part in parts))


def scored(inputs: Sequence[str], output: Path, options: Sequence[str] = ()) -> Path:
    """Output of score_dataset with the package's own network; an earlier one is used, or gone on with."""
    return _made(score_dataset.run, inputs, output, options)


def embedded(inputs: Sequence[str], output: Path, options: Sequence[str]) -> Path:
    """Output of embed_dataset; an earlier one is used, or gone on with."""
    return _made(embed_dataset.run, inputs, output, options)


def _made(run: Callable[[list[str]], int], inputs: Sequence[str], output: Path, options: Sequence[str]) -> Path:
    if not (output / "summary.json").exists():
        resume = ["--resume"] if (output / "run.json").exists() else []
        quiet(run, ["--input", *inputs, "--output", str(output), *options, *resume])
    return output


def quiet(run: Callable[[list[str]], int], words: Sequence[str]) -> None:
    """Run one of the package's commands in this process without its report; SystemExit if it fails."""
    with contextlib.redirect_stdout(io.StringIO()):
        code = run(list(words))
    if code:
        raise SystemExit(f"{run.__module__} ended with code {code}; its message is above")


def read_scored(output: Path, side: int, least_images: int) -> Faces:
    """The scored rows of identities with at least so many, with their pixels.

    Raises:
        SystemExit: two rows have one key, by which labels are attached.
    """
    rows = load_quality(output, columns=_COLUMNS)
    rows = rows[(rows["status"] == "scored") & rows["label"].notna()]
    rows = rows[rows.groupby("label")["key"].transform("size") >= least_images].reset_index(drop=True)
    twice = rows["key"][rows["key"].duplicated()]
    if len(twice):
        raise SystemExit(f"{output}: {len(twice)} keys occur twice, {twice.iloc[0]!r} first; labels go by key")
    return Faces(
        rows["key"].to_numpy(str),
        rows["label"].to_numpy(str),
        np.array([bytes(digest).hex() for digest in rows["sha256"]]),
        rows["quality"].to_numpy(np.float32),
        _pixels(rows, output, side),
    )


def _pixels(rows: pd.DataFrame, output: Path, side: int) -> np.ndarray:
    found = np.empty((len(rows), side, side, 3), np.uint8)
    for row, face in enumerate(read_faces(rows, output)):
        found[row] = cv2.resize(face.scored_pixels(), (side, side), interpolation=cv2.INTER_AREA)
    return found


def held_out(faces: Faces, share: float) -> tuple[Faces, Faces]:
    """Faces to train on, and those of a seeded share of the identities, for verification."""
    people = np.unique(faces.labels)
    chosen = np.random.default_rng(0).choice(people, round(share * len(people)), replace=False)
    apart = np.isin(faces.labels, chosen)
    return faces.take(~apart), faces.take(apart)


def relabelled(faces: Faces, labels: np.ndarray) -> Faces:
    """The same faces with other labels."""
    return replace(faces, labels=labels)
