"""Stand-in checkpoints: the tensors of a golden network, rebuilt from names and shapes."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.makers.faces import SHARED

GOLDEN = SHARED / "golden" / "model"


def golden_state_dict(name: str) -> dict[str, torch.Tensor]:
    """State dict of a golden network (`vit_t-token`, `iresnet50`, ...); skips the test without the materials."""
    if not GOLDEN.is_dir():
        pytest.skip("needs golden files: no shared/golden/model beside the checkout")
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    shapes: dict[str, list[int]] = json.loads((GOLDEN / name / "state_dict.json").read_text())
    return {key: torch.from_numpy(np.asarray(weights.tensor(key, shape))) for key, shape in shapes.items()}


def write_checkpoint(path: Path, name: str) -> Path:
    """Save the state dict of a golden network as `torch.save` does."""
    torch.save(golden_state_dict(name), path)
    return path
