"""OnnxScorer: an ONNX network that embeds, or scores, batches of 112x112 RGB faces."""

import logging
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.first_look import FirstInputs
from fiqa_core.networks.known import known_network, network_file, unexpected_file
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import OnnxError, onnx_device, read_onnx
from fiqa_core.scoring.batch_scorer import BatchScorer, Scores, joined
from fiqa_core.scoring.image_list import score_images

_log = logging.getLogger(__name__)

DEFAULT_BATCH = {"cpu": 16, "cuda": 128}


class OnnxScorer(BatchScorer):
    """Embeddings of the network, or its quality where its output is one, or the length of its embedding where that
    is asked for.

    `flip`: an embedding is followed by that of the mirror image (2D numbers). `batch_size`: images a call; where
    the network takes a fixed number, it gets that number whatever `batch_size` is. Thread-safe.
    """

    def __init__(self, network: OnnxNetwork, batch_size: int, flip: bool = False) -> None:
        if flip and network.input.is_quality:
            raise ValueError("flip is about embeddings, and this network's output is a quality")
        self.network = network
        self.flip = flip
        self.batch_size = batch_size
        self._call_size = network.input.batch or batch_size
        self._checked = False
        self._first = FirstInputs()

    @classmethod
    def from_file(
        cls,
        uri: str = "",
        network: str = "",
        options: OnnxOptions | None = None,
        device: str = "cpu",
        batch_size: int | None = None,
    ) -> "OnnxScorer":
        """Load an ONNX network: `network` is a known one's name (`fiqa_core.networks.known`), which says what it is fed
        with; `options` say it for any other. `uri`: its file; may be left out for a known network whose file is here.

        Raises:
            UnknownNetworkError: the name is not known, or its file is not here. OnnxError: the file cannot be used.
            DeviceError: the device is not there.
        """
        known = known_network(network) if network else None
        if known is not None and known.onnx is None:
            raise OnnxError(f"network {network} is a checkpoint: load it with QualityScorer.from_checkpoint")
        if not uri and known is None:
            raise OnnxError("give the ONNX file, or the name of a known network")
        file = read_onnx(uri or str(network_file(network)))
        warning = unexpected_file(network, file.sha256) if network else None
        if warning is not None:
            _log.warning("%s", warning)
        asked = options or (known.onnx if known is not None else None) or OnnxOptions()
        found = onnx_device(device)
        return cls(OnnxNetwork(file, asked, found), batch_size or DEFAULT_BATCH[found.partition(":")[0]])

    def score(
        self, images: Iterable[Any], errors: Literal["raise", "nan"] = "raise", aligner: Aligner | None = None
    ) -> np.ndarray:
        """Quality, float32 (N,), of a list of pictures; arguments and errors as in `QualityScorer.score`.

        Raises:
            OnnxError: the network gives embeddings.
        """
        if not self.network.input.is_quality:
            raise OnnxError(f"{self.network.file.uri}: gives embeddings, not a quality; use score_pixels")
        return score_images(self, images, errors, aligner, self._first)

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding, 0 for a quality network."""
        return 0 if self.network.input.is_quality else self.network.dim * (1 + self.flip)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """`Scores` of uint8 RGB (B, 112, 112, 3): either embeddings or qualities."""
        starts = range(0, len(pixels), self._call_size)
        return joined([self._scores(pixels[start : start + self._call_size]) for start in starts])

    def _scores(self, pixels: np.ndarray) -> Scores:
        outputs = self.network.forward(pixels)
        if not self._checked:
            self._checked = True
            self._warn_of_dependence(pixels[0], outputs[0])
        if self.network.input.is_quality:
            is_norm = self.network.input.kind == "norm"
            return Scores(np.linalg.norm(outputs, axis=1) if is_norm else outputs[:, 0], None)
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
