"""Makes the scorer of an ONNX network inside the worker."""

import logging
from dataclasses import dataclass, replace

from fiqa_core.networks.onnx_file import OnnxError
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import onnx_device, read_onnx
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.onnx_scorer import DEFAULT_BATCH, OnnxScorer
from fiqa_core.scoring.pool import ScorerPool
from fiqa_core.scoring.settings import ScoreSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxSource:
    """Loads an ONNX network; refuses one that is not the file the driver saw. Fields as of `CheckpointScorer`."""

    uri: str
    settings: ScoreSettings
    device: str = "auto"
    batch_size: int | None = None
    threads: int = 0
    gpus: int = 1

    def on(self, device: str) -> "OnnxSource":
        """The same on one device: `cpu` or `cuda:N`."""
        return replace(self, device=device, gpus=1)

    def load(self) -> BatchScorer:
        """Read the model and put it on the device.

        Raises:
            OnnxError: the model changed since the job was started.
            DeviceError: the device is not there.
        """
        if self.gpus > 1:
            return ScorerPool([self._load_on(f"{self.device}:{number}") for number in range(self.gpus)])
        return self._load_on(self.device)

    def _load_on(self, device: str) -> OnnxScorer:
        onnx = self.settings.onnx
        if onnx is None:
            raise ValueError("these settings are not of an ONNX network")
        file = read_onnx(self.uri)
        if file.sha256 != self.settings.checkpoint_sha256:
            raise OnnxError(
                f"{self.uri}: the model changed since the job was started (sha256 {file.sha256}, expected "
                f"{self.settings.checkpoint_sha256}). Start the job again."
            )
        found = onnx_device(device)
        options = OnnxOptions(
            onnx.layout, onnx.size, onnx.color, onnx.mean, onnx.std, onnx.output, onnx.kind, onnx.batch or None
        )
        network = OnnxNetwork(file, options, found, self.threads)
        _log.info("ONNX network on %s", found)
        return OnnxScorer(network, self.batch_size or DEFAULT_BATCH[found.partition(":")[0]], self.settings.flip)
