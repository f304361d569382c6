"""A RunInference model handler for Beam pipelines of your own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from fiqa_core.networks.exits import LAST, Exits
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_session import OnnxError
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.onnx_scorer import OnnxScorer
from fiqa_core.scoring.scorer import QualityScorer


class FaceQualityModelHandler(ModelHandler[np.ndarray, PredictionResult, BatchScorer]):
    """Scores uint8 RGB (112, 112, 3) arrays; `inference` is the quality (float, higher = better).

    Batches have one fixed size (Beam's adaptive batching settles at a handful of images otherwise).
    Decode and validate images first: an exception fails the whole batch, not one image.

    Args:
        checkpoint: URI of a ViT-FIQA or CR-FIQA checkpoint, or of an ONNX file; "" for the file of `network`.
        device, precision: as in `QualityScorer`; a device that is missing is an error, never a CPU run.
        batch_size: images a batch.
        heads: attention heads, as in `QualityScorer.from_checkpoint`.
        network: name of a known ONNX network (`fiqa networks`), which says what it is fed with.
        onnx: what another ONNX network is fed with (default: what `fiqa export-onnx` writes is); its `kind` must be
            `quality` or `norm`.
        exits: where a ViT's score is read.

    An ONNX file has its own precision: `precision`, `heads` and `exits` are for checkpoints.
    """

    def __init__(
        self,
        checkpoint: str = "",
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int = 64,
        heads: int | None = None,
        network: str = "",
        onnx: OnnxOptions | None = None,
        exits: Exits = LAST,
    ) -> None:
        if not checkpoint and not network:
            raise ValueError("give a checkpoint, an ONNX file, or the name of a known network")
        self._checkpoint = checkpoint
        self._device = device
        self._precision = precision
        self._batch_size = batch_size
        self._heads = heads
        self._network = network
        self._onnx = onnx
        self._exits = exits

    def load_model(self) -> BatchScorer:
        """The scorer; Beam calls this once a process."""
        if self._network or self._onnx is not None or self._checkpoint.lower().endswith(".onnx"):
            options = self._onnx or (None if self._network else OnnxOptions(kind="quality"))
            scorer = OnnxScorer.from_file(
                self._checkpoint, self._network, options, self._device, batch_size=self._batch_size
            )
            if not scorer.network.input.is_quality:
                raise OnnxError(f"{scorer.network.file.uri}: gives embeddings, not a quality (kind of `onnx`)")
            return scorer
        return QualityScorer.from_checkpoint(
            self._checkpoint,
            device=self._device,
            precision=self._precision,
            batch_size=self._batch_size,
            heads=self._heads,
            exit=self._exits.exit,
            fuse=self._exits.fuse,
        )

    def run_inference(
        self,
        batch: Sequence[np.ndarray],
        model: BatchScorer,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[PredictionResult]:
        """One `PredictionResult` an image, in order."""
        if inference_args:
            raise ValueError(f"FaceQualityModelHandler takes no inference_args, got {sorted(inference_args)}")
        scores = model.score_pixels(np.stack(list(batch)))
        if scores.quality is None:  # the scorer was made without embeddings, so it has a quality head
            raise RuntimeError("the network gave no quality")
        for image, quality in zip(batch, scores.quality.tolist(), strict=True):
            yield PredictionResult(image, quality)

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        """Bytes of a batch. Beam's default would pickle the batch to count them."""
        return sum(image.nbytes for image in batch)

    def batch_elements_kwargs(self) -> dict[str, Any]:
        """min = max: batches of exactly the size asked for."""
        return {"min_batch_size": self._batch_size, "max_batch_size": self._batch_size}

    def get_metrics_namespace(self) -> str:
        """Prefix of Beam's own inference metrics."""
        return "FaceQuality"
