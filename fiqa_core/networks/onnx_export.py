"""A quality network as an ONNX file that gives the same scores, for any number of images a call."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fiqa_core.networks.checkpoints import LoadedNetwork
from fiqa_core.networks.exits import LAST, Exits
from fiqa_core.networks.onnx_file import OnnxError
from fiqa_core.networks.onnx_session import onnxruntime

OPSET = 17
MOST_DIFFERENCE = 1e-5
_SIDE = 112
_CHECKED_BATCHES = (1, 3)  # neither is the size that the graph is traced with


class _Quality(torch.nn.Module):
    def __init__(self, network: Any, exits: Exits) -> None:
        super().__init__()
        self.network = network
        self.asked = () if exits == LAST else (exits,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quality: torch.Tensor = self.network.quality(x, *self.asked)
        return quality


def export_quality(loaded: LoadedNetwork, exits: Exits = LAST) -> bytes:
    """An ONNX model: float32 `faces` (B, 3, 112, 112), RGB, (x - 127.5) / 127.5 -> float32 `quality` (B,).

    It is run by onnxruntime before it is returned, on batches of other sizes than the one that it was made with.

    Raises:
        OnnxError: onnxruntime is missing, or what it gives differs by more than 1e-5 (relative to scores above 1).
    """
    runtime = onnxruntime()
    module = _Quality(loaded.network, exits).eval()
    with tempfile.TemporaryDirectory(prefix="fiqa-onnx-") as folder, warnings.catch_warnings():
        place = Path(folder) / "network.onnx"
        # torch's newer exporter needs another package (onnxscript); the traced graph is checked below.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, _SIDE, _SIDE),),
            place,
            dynamo=False,
            opset_version=OPSET,
            input_names=["faces"],
            output_names=["quality"],
            dynamic_axes={"faces": {0: "batch"}, "quality": {0: "batch"}},
        )
        data = place.read_bytes()
    _check(runtime, data, module, loaded.uri)
    return data


def _check(runtime: Any, data: bytes, module: _Quality, uri: str) -> None:
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    for batch in _CHECKED_BATCHES:
        faces = torch.rand(batch, 3, _SIDE, _SIDE, generator=random) * 2 - 1
        with torch.inference_mode():
            expected = module(faces).numpy()
        (found,) = session.run(None, {"faces": faces.numpy()})
        difference = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
        if found.shape != expected.shape or not difference <= MOST_DIFFERENCE:
            raise OnnxError(
                f"{uri}: the exported network gives other scores (shape {found.shape}, difference {difference:.2g}; "
                f"expected {expected.shape} and at most {MOST_DIFFERENCE:g}), so it was not written. This torch "
                f"({torch.__version__}) or onnxruntime does not export this network rightly: try another version."
            )
