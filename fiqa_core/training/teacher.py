"""An existing face recognition network in ONNX, which gives the embeddings that a small one learns from."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fiqa_core.networks.onnx_input import Color, OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import read_onnx

_FACES_A_CALL = 16  # where the network does not fix it


@dataclass(frozen=True)
class TeacherSettings:
    """Where the network is and what it wants: input = (pixel - mean) / std of aligned faces.

    Attributes:
        model: URI of the ONNX file; size, layout and a fixed batch are told by its input's shape.
        color: what the input's first channel is, `rgb` (red) or `bgr`. output: name of the embedding, where the network
            has several outputs.
    """

    model: str
    mean: float = 127.5
    std: float = 127.5
    color: Color = "rgb"
    output: str | None = None

    def options(self) -> OnnxOptions:
        """The same for the network's reader."""
        return OnnxOptions(color=self.color, mean=(self.mean,), std=(self.std,), output=self.output)


class Teacher:
    """Embeddings of faces by an ONNX network on the CPU, one session a thread.

    Raises:
        OnnxError: no onnxruntime, no such file, or a network that does not take faces.
    """

    def __init__(self, settings: TeacherSettings, threads: int = 1) -> None:
        file = read_onnx(settings.model)
        self._networks = [OnnxNetwork(file, settings.options(), threads=1) for _ in range(max(1, threads))]
        self._batch = self._networks[0].input.batch or _FACES_A_CALL

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Embeddings, float32 (N, E), not normalised, of uint8 RGB (N, 112, 112, 3)."""
        count = len(self._networks)
        starts = range(0, len(pixels), self._batch)
        found: dict[int, np.ndarray] = {}

        def work(number: int) -> None:
            for start in starts[number::count]:
                found[start] = self._networks[number].forward(pixels[start : start + self._batch])

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))
        return np.concatenate([found[start] for start in starts])
