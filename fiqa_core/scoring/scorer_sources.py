"""What makes a scorer inside the worker: of a checkpoint, of an ONNX file, of a simple measure, or of nothing.

A source is small and picklable. Networks and their libraries are imported where a scorer is made, so that a worker
loads only what its own needs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

from fiqa_core.devices import worker_device
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.pool import ScorerPool
from fiqa_core.scoring.settings import ScoreSettings

_log = logging.getLogger(__name__)


class ScorerSource(Protocol):
    """Something small and picklable that makes the scorer inside the worker."""

    def load(self) -> BatchScorer:
        """Make the scorer; called once a process."""


@runtime_checkable
class DeviceSource(ScorerSource, Protocol):
    """A source that can be told its device."""

    def on(self, device: str) -> "DeviceSource":
        """The same for one device of this machine: `cpu` or `cuda:N`."""


@dataclass(frozen=True)
class _NetworkFile:
    """A network in a file, which must be the one that the driver saw.

    `threads`: CPU threads of the network in this process, 0 = leave torch's own choice. `gpus`: GPUs of the
    worker that this process takes, with one network on each (device `cuda` only).
    """

    uri: str
    settings: ScoreSettings
    device: str = "auto"
    batch_size: int | None = None
    threads: int = 0
    gpus: int = 1

    def on(self, device: str) -> Self:
        """The same on one device: `cpu` or `cuda:N`."""
        return replace(self, device=device, gpus=1)


@dataclass(frozen=True)
class CheckpointScorer(_NetworkFile):
    """Loads a network from a checkpoint; refuses one that is not the file the driver saw."""

    def load(self) -> BatchScorer:
        """Read the checkpoint and put it on the device.

        Raises:
            CheckpointError: the checkpoint changed since the job was started.
            DeviceError: the device is not there.
        """
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        return _on_each_gpu(self._load_on, self.device, self.gpus)

    def _load_on(self, device: str) -> BatchScorer:
        from fiqa_core.networks.architectures import heads_named
        from fiqa_core.networks.checkpoint_files import CheckpointError
        from fiqa_core.scoring.scorer import QualityScorer

        scorer = QualityScorer.from_checkpoint(
            self.uri,
            device=worker_device(device),
            precision=self.settings.precision,
            batch_size=self.batch_size,
            embeddings=self.settings.embeddings != "none",
            flip=self.settings.flip,
            compiled=self.settings.compiled,
            heads=heads_named(self.settings.arch),
            exit=self.settings.exit,
            fuse=self.settings.fuse,
        )
        if scorer.loaded.sha256 != self.settings.checkpoint_sha256:
            raise CheckpointError(_changed(self.uri, "checkpoint", scorer.loaded.sha256, self.settings))
        _log.info("%s (%s) on %s", scorer.loaded.arch, scorer.loaded.mode, scorer.device)
        return scorer


@dataclass(frozen=True)
class OnnxSource(_NetworkFile):
    """Loads an ONNX network; refuses one that is not the file the driver saw."""

    def load(self) -> BatchScorer:
        """Read the model and put it on the device.

        Raises:
            OnnxError: the model changed since the job was started.
            DeviceError: the device is not there.
        """
        return _on_each_gpu(self._load_on, self.device, self.gpus)

    def _load_on(self, device: str) -> BatchScorer:
        from fiqa_core.networks.onnx_file import OnnxError
        from fiqa_core.networks.onnx_input import OnnxOptions
        from fiqa_core.networks.onnx_network import OnnxNetwork
        from fiqa_core.networks.onnx_session import onnx_device, read_onnx
        from fiqa_core.scoring.onnx_scorer import DEFAULT_BATCH, OnnxScorer

        onnx = self.settings.onnx
        if onnx is None:
            raise ValueError("these settings are not of an ONNX network")
        file = read_onnx(self.uri)
        if file.sha256 != self.settings.checkpoint_sha256:
            raise OnnxError(_changed(self.uri, "model", file.sha256, self.settings))
        found = onnx_device(device)
        options = OnnxOptions(
            onnx.layout, onnx.size, onnx.color, onnx.mean, onnx.std, onnx.output, onnx.kind, onnx.batch or None
        )
        network = OnnxNetwork(file, options, found, self.threads)
        _log.info("ONNX network on %s", found)
        return OnnxScorer(network, self.batch_size or DEFAULT_BATCH[found.partition(":")[0]], self.settings.flip)


@dataclass(frozen=True)
class MeasureSource:
    """Makes the scorer of a simple measure (`fiqa_core.scoring.measures`); its name replaces a network's."""

    name: str

    def on(self, device: str) -> "MeasureSource":  # noqa: ARG002
        """The same: a measure needs no device."""
        return self

    def load(self) -> BatchScorer:
        """The scorer."""
        from fiqa_core.scoring.measures import LaplacianScorer, StoredSizeScorer

        return LaplacianScorer() if self.name == "laplacian" else StoredSizeScorer()


@dataclass(frozen=True)
class NoScorerSource:
    """Makes a scorer that scores nothing, for align_dataset."""

    def load(self) -> BatchScorer:
        """The scorer."""
        from fiqa_core.scoring.measures import NoScorer

        return NoScorer()


def _on_each_gpu(load_on: Callable[[str], BatchScorer], device: str, gpus: int) -> BatchScorer:
    """One network on the device, or one on each of several GPUs."""
    if gpus > 1:
        return ScorerPool([load_on(f"{device}:{number}") for number in range(gpus)])
    return load_on(device)


def _changed(uri: str, what: str, sha256: str, settings: ScoreSettings) -> str:
    return (
        f"{uri}: the {what} changed since the job was started (sha256 {sha256}, expected "
        f"{settings.checkpoint_sha256}). Start the job again."
    )
