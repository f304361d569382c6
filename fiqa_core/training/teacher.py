"""An existing face recognition network in ONNX, which gives the embeddings that a small one learns from."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core import storage
from fiqa_core.training.errors import TrainingError


@dataclass(frozen=True)
class TeacherSettings:
    """Where the network is and what it wants: input = (pixel - mean) / scale of aligned 112x112 faces.

    Attributes:
        model: URI of the ONNX file. One input of 112x112 faces, NCHW or NHWC (told by its shape), of any batch size or
            a fixed one; the first output is the embedding.
        channel_order: `rgb` or `bgr`, of the input's channels.
    """

    model: str
    mean: float = 127.5
    scale: float = 127.5
    channel_order: str = "rgb"


class Teacher:
    """Embeddings of faces by an ONNX network on the CPU, one session a thread."""

    def __init__(self, settings: TeacherSettings, threads: int = 1) -> None:
        """Load the network.

        Raises:
            TrainingError: no onnxruntime, no such file, or a network that does not take 112x112 faces.
        """
        if settings.channel_order not in ("rgb", "bgr"):
            raise TrainingError(f"the teacher's channel_order is {settings.channel_order!r}; expected rgb or bgr")
        self.settings = settings
        self._sessions = [_session(settings.model) for _ in range(max(1, threads))]
        entry = self._sessions[0].get_inputs()[0]
        self._name, shape = entry.name, list(entry.shape)
        if len(shape) != 4 or (shape[1:] != [3, 112, 112] and shape[1:] != [112, 112, 3]):
            raise TrainingError(
                f"{settings.model}: its input {entry.name} is {shape}; expected (batch, 3, 112, 112) or "
                "(batch, 112, 112, 3). Give a face recognition network for aligned 112x112 faces."
            )
        self._channels_first = shape[1] == 3
        self._batch = shape[0] if isinstance(shape[0], int) else 16

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Embeddings, float32 (N, E), not normalised, of uint8 RGB (N, 112, 112, 3)."""
        starts = range(0, len(pixels), self._batch)
        shares = [starts[number :: len(self._sessions)] for number in range(len(self._sessions))]
        found: dict[int, np.ndarray] = {}

        def work(session: Any, share: Sequence[int]) -> None:
            for start in share:
                found[start] = self._run(session, pixels[start : start + self._batch])

        with ThreadPoolExecutor(len(self._sessions)) as pool:
            for done in [pool.submit(work, *pair) for pair in zip(self._sessions, shares, strict=True)]:
                done.result()
        return np.concatenate([found[start] for start in starts])

    def _run(self, session: Any, pixels: np.ndarray) -> np.ndarray:
        count = len(pixels)
        if count < self._batch:  # a network with a fixed batch size takes no smaller one
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], self._batch - count, axis=0)])
        x = (pixels.astype(np.float32) - self.settings.mean) / self.settings.scale
        if self.settings.channel_order == "bgr":
            x = x[..., ::-1]
        if self._channels_first:
            x = x.transpose(0, 3, 1, 2)
        out: np.ndarray = session.run(None, {self._name: np.ascontiguousarray(x)})[0]
        return out[:count].reshape(count, -1).astype(np.float32)


def _session(uri: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise TrainingError("a teacher needs onnxruntime: pip install 'fiqa-pipelines[train]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        data = storage.read_bytes(uri)
    except FileNotFoundError as error:
        raise TrainingError(f"{uri}: no such file; expected the teacher's ONNX network. Check the path.") from error
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class of their own
        raise TrainingError(f"{uri}: not a network that onnxruntime can load ({str(error)[:200]})") from error
