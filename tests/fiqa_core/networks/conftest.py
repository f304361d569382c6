"""Stand-in networks: the golden ones by name, and a tiny one for what needs no golden numbers."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fiqa_core.networks.architectures import named
from fiqa_core.networks.checkpoints import LoadedNetwork, load_checkpoint

SHARED = Path(__file__).parents[4] / "shared"
GOLDEN = SHARED / "golden" / "model"
GOLDEN_NETWORKS = (
    "vit_t-token",
    "vit_s-token",
    "vit_s-full",
    "vit_s-crfiqa",
    "vit_b-token",
    "iresnet50",
    "iresnet100",
)


@dataclass(frozen=True)
class Golden:
    """A network with the golden weights, loaded from a file, and what the original network gave."""

    name: str
    loaded: LoadedNetwork
    quality_rgb: dict[str, float]
    quality_bgr_unswapped: dict[str, float]
    embedding: Any


def _weights_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_state_dict(name: str) -> dict[str, Tensor]:
    if not GOLDEN.is_dir():
        pytest.skip("the shared golden materials are not beside this checkout (../shared/golden/model)")
    maker = _weights_maker()
    shapes: dict[str, list[int]] = json.loads((GOLDEN / name / "state_dict.json").read_text())
    return {tensor: torch.from_numpy(np.array(maker.tensor(tensor, shape))) for tensor, shape in shapes.items()}


def load_golden(name: str, folder: Path) -> Golden:
    tensors = golden_state_dict(name)
    torch.save(tensors, folder / "model.pt")
    loaded = load_checkpoint(str(folder))
    (folder / "model.pt").unlink()
    expected = json.loads((GOLDEN / name / "expected.json").read_text())
    embedding = np.load(GOLDEN / name / "embedding.npy")
    return Golden(name, loaded, expected["quality_rgb"], expected["quality_bgr_unswapped"], embedding)


@pytest.fixture(scope="session", params=GOLDEN_NETWORKS)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """One of the seven golden networks at a time: together they would hold 2 GB."""
    return load_golden(request.param, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="session")
def golden_vit_t(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return load_golden("vit_t-token", tmp_path_factory.mktemp("golden"))


def random_state_dict(arch: str, mode: str, seed: int = 0) -> dict[str, Tensor]:
    """Plausible weights for any architecture, its mask token among them for a ViT."""
    generator = torch.Generator().manual_seed(seed)
    network = named(arch, mode).build(mask_token=True)
    tensors = {}
    for name, tensor in network.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator) / max(1, tensor[0].numel() if tensor.ndim else 1) ** 0.5
        if name.endswith("running_var"):
            values = values.abs() + 0.5
        tensors[name] = torch.tensor(100) if name.endswith("num_batches_tracked") else values
    return tensors


TinyMaker = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="session")
def make_weights() -> TinyMaker:
    """`make_weights(arch="vit_w64_d2_p28", mode="token")` -> a fresh state dict."""

    def make(arch: str = "vit_w64_d2_p28", mode: str = "token") -> dict[str, Tensor]:
        return random_state_dict(arch, mode)

    return make
