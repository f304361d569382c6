"""An existing face recognition network in ONNX, whose embeddings a small network learns."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fiqa_core.networks.known import KNOWN, network_file
from fiqa_core.networks.onnx_input import Color, OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import OnnxError, read_onnx
from fiqa_core.settings import checks
from fiqa_core.settings.fields import required, setting

_FACES_A_CALL = 16  # if the network does not fix it


@dataclass(frozen=True)
class TeacherSettings:
    """Where the network is, and the input it expects: (pixel - mean) / std of aligned faces.

    Its size, layout and fixed batch, if it has one, are read from the ONNX file.
    """

    model: str = required(
        checks.name,
        "URI of an ONNX face recognition network to learn from, or the name of a known one (`fiqa networks`), whose "
        "input is known too",
        "--teacher-model",
        "ONNX",
    )
    mean: float = setting(127.5, checks.number, "subtracted from each pixel")
    std: float = setting(127.5, checks.above_zero, "each pixel is divided by this")
    color: Color = setting("rgb", checks.Choice("rgb", "bgr"), "the input's first channel: red (rgb) or blue (bgr)")  # noqa: RUF009
    output: str | None = setting(
        None, checks.optional(checks.name), "name of the embedding, if the network has several outputs"
    )

    def source(self) -> tuple[str, OnnxOptions]:
        """The network's file, and its input in the form that the network's reader takes.

        Raises:
            UnknownNetworkError: a known network whose file is not here. OnnxError: one that gives no embedding.
        """
        if self.model not in KNOWN:
            return self.model, OnnxOptions(color=self.color, mean=(self.mean,), std=(self.std,), output=self.output)
        known = KNOWN[self.model]
        if known.onnx is None or known.gives != "embedding":
            raise OnnxError(f"network {self.model} gives no embedding ({known.summary}); a teacher must")
        return str(network_file(self.model)), known.onnx


class Teacher:
    """Embeddings of faces by an ONNX network on the CPU, one session for each thread.

    Raises:
        OnnxError: no onnxruntime, no such file, or a network that does not accept faces.
    """

    def __init__(self, settings: TeacherSettings, threads: int = 1) -> None:
        uri, options = settings.source()
        file = read_onnx(uri)
        self._networks = [OnnxNetwork(file, options, threads=1) for _ in range(max(1, threads))]
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
