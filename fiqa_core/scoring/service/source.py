"""Makes the worker's side of the scoring process, inside a worker."""

import logging
import os
import secrets
from dataclasses import dataclass, field

from fiqa_core.devices import resolve_device, worker_device
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.scorer_sources import DeviceSource
from fiqa_core.scoring.service.client import RemoteScorer
from fiqa_core.scoring.service.launch import Place, start

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedSource:
    """A scorer whose network lives in the scoring process of a device; the workers of a machine share it.

    Attributes:
        inner: makes the scorer, in the scoring process.
        device: `cpu`, `cuda` (each worker uses the GPU that fewest others use), `cuda:N` or `auto`.
        on_cpu: whether there is a scoring process on a CPU too; else the network is in the worker there.
        job: a secret of this job, so that no other job's scoring process (another network) is found.
    """

    inner: DeviceSource
    device: str = "auto"
    on_cpu: bool = False
    job: str = field(default_factory=lambda: secrets.token_hex(16))

    def load(self) -> BatchScorer:
        """In a worker: connect to the scoring process of this worker's device; start it if it is not there.

        Raises:
            DeviceError: the device is not there.
            ValueError: the checkpoint changed since the job was started.
            ScoringProcessError: the scoring process cannot start.
        """
        device = worker_device(self.device)
        if device == "cpu" and not self.on_cpu:
            return self.inner.on(device).load()
        scorer = RemoteScorer(self._place(device), self.inner.on(device))
        _log.info("process %d uses the scoring process of %s", os.getpid(), device)
        return scorer

    def start(self) -> None:
        """In the driver of a local run: start the scoring process of the first device while the workers start."""
        device = str(resolve_device(self.device))
        device = "cuda:0" if device == "cuda" else device
        start(self._place(device), self.inner.on(device))

    def _place(self, device: str) -> Place:
        # `cuda:0` is another GPU in a process with another CUDA_VISIBLE_DEVICES.
        return Place(self.job, device, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
