"""Real materials beside the checkout; tests that need them skip where they are absent."""

import importlib.util
import json
import tarfile
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = SHARED / "golden" / "model"
FACES = SHARED / "data" / "lfw112"

needs_shared = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"{SHARED.name}/golden is not beside this checkout")


def write_golden_checkpoint(name: str, path: Path) -> Path:
    """Stand-in weights of a golden network as a checkpoint."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    shapes = json.loads((GOLDEN / name / "state_dict.json").read_text())
    torch.save({key: torch.from_numpy(weights.tensor(key, shape)) for key, shape in shapes.items()}, path)
    return path


def lfw_faces(count: int) -> list[tuple[str, str, bytes]]:
    """The first faces as (key, label, JPEG bytes), read by Python's tarfile."""
    faces: list[tuple[str, str, bytes]] = []
    with tarfile.open(FACES / "test-000000.tar") as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers()[: 3 * count]}
        for name, stream in files.items():
            label = files.get(name.replace(".jpg", ".cls"))
            if name.endswith(".jpg") and stream is not None and label is not None:
                faces.append((name.removesuffix(".jpg"), label.read().decode(), stream.read()))
    return faces
