"""OnnxScorer: an ONNX network that embeds, or scores, batches of 112x112 RGB faces."""

import numpy as np

from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.scoring.batch_scorer import Scores, joined

DEFAULT_BATCH = {"cpu": 16, "cuda": 128}


class OnnxScorer:
    """Embeddings of the network, or its quality where its output is one.

    `flip`: an embedding is followed by that of the mirror image (2D numbers). `batch_size`: images a call; where
    the network takes a fixed number, it gets that many whatever `batch_size` says. Thread-safe.
    """

    def __init__(self, network: OnnxNetwork, batch_size: int, flip: bool = False) -> None:
        if flip and network.input.kind == "quality":
            raise ValueError("flip is about embeddings, and this network's output is a quality")
        self.network = network
        self.flip = flip
        self.batch_size = batch_size
        self._call_size = network.input.batch or batch_size

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding, 0 for a quality network."""
        return 0 if self.network.input.kind == "quality" else self.network.dim * (1 + self.flip)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """`Scores` of uint8 RGB (B, 112, 112, 3): an embedding and no quality, or the reverse."""
        starts = range(0, len(pixels), self._call_size)
        return joined([self._scores(pixels[start : start + self._call_size]) for start in starts])

    def _scores(self, pixels: np.ndarray) -> Scores:
        outputs = self.network.forward(pixels)
        if self.network.input.kind == "quality":
            return Scores(outputs[:, 0], None)
        if self.flip:
            outputs = np.concatenate([outputs, self.network.forward(pixels[:, :, ::-1])], axis=1)
        return Scores(None, outputs)
