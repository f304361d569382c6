"""OnnxScorer: an ONNX network that embeds, or scores, batches of 112x112 RGB faces."""

import logging

import numpy as np

from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.scoring.batch_scorer import BatchScorer, Scores, joined

_log = logging.getLogger(__name__)

DEFAULT_BATCH = {"cpu": 16, "cuda": 128}


class OnnxScorer(BatchScorer):
    """Embeddings of the network, or its quality where its output is one.

    `flip`: an embedding is followed by that of the mirror image (2D numbers). `batch_size`: images a call; where
    the network takes a fixed number, it gets that number whatever `batch_size` is. Thread-safe.
    """

    def __init__(self, network: OnnxNetwork, batch_size: int, flip: bool = False) -> None:
        if flip and network.input.kind == "quality":
            raise ValueError("flip is about embeddings, and this network's output is a quality")
        self.network = network
        self.flip = flip
        self.batch_size = batch_size
        self._call_size = network.input.batch or batch_size
        self._checked = False

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding, 0 for a quality network."""
        return 0 if self.network.input.kind == "quality" else self.network.dim * (1 + self.flip)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """`Scores` of uint8 RGB (B, 112, 112, 3): either embeddings or qualities."""
        starts = range(0, len(pixels), self._call_size)
        return joined([self._scores(pixels[start : start + self._call_size]) for start in starts])

    def _scores(self, pixels: np.ndarray) -> Scores:
        outputs = self.network.forward(pixels)
        if not self._checked:
            self._checked = True
            self._warn_of_dependence(pixels[0], outputs[0])
        if self.network.input.kind == "quality":
            return Scores(outputs[:, 0], None)
        if self.flip:
            outputs = np.concatenate([outputs, self.network.forward(pixels[:, :, ::-1])], axis=1)
        return Scores(None, outputs)

    def _warn_of_dependence(self, image: np.ndarray, output: np.ndarray) -> None:
        """Warn if the output for the first image depends on the other images of the batch."""
        beside = [image, 255 - image][: self.network.input.batch or 2]
        again = self.network.forward(np.stack(beside))[0]
        size = float(np.abs(output).max()) or 1.0
        difference = float(np.abs(again - output).max()) / size
        if not difference <= self.network.tolerance:
            _log.warning(
                "%s: what it gives for an image depends on the other images of the batch (the same face differs by "
                "%.2g %% of its largest number): exported in training mode, or quantised as it runs? Its values change "
                "with --batch-size and the order of the images. Export it in evaluation mode.",
                self.network.file.uri,
                100 * difference,
            )
