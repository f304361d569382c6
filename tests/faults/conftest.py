"""A dataset that scores in a second, and a process that forks commands."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.prepared import Prepared

SHARDS, RECORDS = 8, 24


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """`SHARDS` tars of `RECORDS` grey PNGs, each of another shade."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(SHARDS):
        write_shard(folder / f"s-{number:03}.tar", number, RECORDS)
    return folder


def write_shard(path: Path, number: int, records: int, noise: np.random.Generator | None = None) -> Path:
    """One tar of PNGs: grey, or noise."""
    with tarfile.open(path, "w") as archive:
        for record in range(records):
            image = io.BytesIO()
            pixels = np.full((16, 16, 3), (number * records + record) % 256, np.uint8)
            if noise is not None:
                pixels = noise.integers(0, 256, pixels.shape, np.uint8)
            Image.fromarray(pixels).save(image, "PNG")
            member = tarfile.TarInfo(f"{number:03}/{record:05}.png")
            member.size = image.getbuffer().nbytes
            archive.addfile(member, io.BytesIO(image.getvalue()))
    return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    with Prepared(tmp_path_factory.mktemp("logs")) as process:
        yield process


def quality_files(output: Path) -> dict[str, bytes]:
    """Names and bytes of the table's files."""
    return {path.name: path.read_bytes() for path in sorted(output.glob("quality/*"))}


def assert_nothing_left_over(output: Path) -> None:
    """A finished output holds the table, the plan and the account, and nothing else."""
    assert {path.name for path in output.iterdir()} == {"quality", "plan", "run.json", "summary.json"}
