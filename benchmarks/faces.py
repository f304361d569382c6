"""Real faces for measuring: WebDataset shards, and their images in memory."""

import tarfile
from pathlib import Path

import numpy as np

from fiqa_core.images.preprocess import prepare

DEFAULT_SHARDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "lfw112"


def shards(folder: Path, pattern: str = "*.tar") -> list[Path]:
    """The folder's shards, sorted; SystemExit where there are none."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise SystemExit(f"{folder}: no {pattern}; give a folder of WebDataset tars of aligned faces with --shards")
    return found


def stored_images(paths: list[Path], count: int | None = None) -> list[bytes]:
    """Stored bytes of the first `count` JPEG members, read by Python's own tarfile."""
    images: list[bytes] = []
    for path in paths:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(".jpg") else None
                if stream is not None:
                    images.append(stream.read())
                if len(images) == count:
                    return images
    return images


def pixels(paths: list[Path], count: int) -> np.ndarray:
    """Network input, uint8 (count, 112, 112, 3) RGB."""
    return np.stack([prepare(data).pixels for data in stored_images(paths, count)])
