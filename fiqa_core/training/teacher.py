"""An existing face recognition network in ONNX, whose embeddings a small network learns."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fiqa_core.networks.onnx_input import Color, OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import read_onnx
from fiqa_core.settings import checks
from fiqa_core.settings.fields import required, setting

_FACES_A_CALL = 16  # if the network does not fix it


@dataclass(frozen=True)
class TeacherSettings:
    """Where the network is, and the input it expects: (pixel - mean) / std of aligned faces.

    Its size, layout and fixed batch, if it has one, are read from the ONNX file.
    """

    model: str = required(
        checks.name, "URI of an ONNX face recognition network to learn from", "--teacher-model", "ONNX"
    )
    mean: float = setting(127.5, checks.number, "subtracted from each pixel")
    std: float = setting(127.5, checks.above_zero, "each pixel is divided by this")
    color: Color = setting("rgb", checks.Choice("rgb", "bgr"), "the input's first channel: red (rgb) or blue (bgr)")  # noqa: RUF009
    output: str | None = setting(
        None, checks.optional(checks.name), "name of the embedding, if the network has several outputs"
    )

    def options(self) -> OnnxOptions:
        """The same settings in the form that the network's reader takes."""
        return OnnxOptions(color=self.color, mean=(self.mean,), std=(self.std,), output=self.output)


class Teacher:
    """Embeddings of faces by an ONNX network on the CPU, one session for each thread.

    Raises:
        OnnxError: no onnxruntime, no such file, or a network that does not accept faces.
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
