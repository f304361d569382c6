"""Real faces from the materials beside the checkout, read without any of this project's code."""

import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
LFW = SHARED / "data" / "lfw112"

requires_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs real faces and golden files: no folder `shared` beside the checkout"
)


class Face(NamedTuple):
    """One real face: 112 x 112 pixels, JPEG."""

    key: str
    label: str
    data: bytes


def lfw_faces(count: int) -> list[Face]:
    """The first `count` faces of the shards in order of their names; skips the test where there are none."""
    if not LFW.is_dir():
        pytest.skip("needs real faces: no shared/data/lfw112 beside the checkout")
    faces: list[Face] = []
    for shard in sorted(LFW.glob("*.tar")):
        if len(faces) >= count:
            break
        faces += _faces_of(shard, count - len(faces))
    return faces


def _faces_of(shard: Path, count: int) -> list[Face]:
    """A sample's `.cls` stands before its `.jpg` in these shards."""
    faces: list[Face] = []
    labels: dict[str, str] = {}
    with tarfile.open(shard) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            key, _, extension = member.name.rpartition(".")
            if stream is not None and extension == "cls":
                labels[key] = stream.read().decode()
            if stream is not None and extension == "jpg":
                faces.append(Face(key, labels[key], stream.read()))
            if len(faces) == count:
                break
    return faces
