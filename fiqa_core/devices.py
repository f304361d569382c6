"""Which device the network runs on: what was asked for, or an error; one GPU a process where there are several."""

import contextlib
import fcntl
import itertools
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fiqa_core.errors import FiqaError

if TYPE_CHECKING:  # a worker that has no network of its own does without torch
    import torch

from fiqa_core.wording import counted

_log = logging.getLogger(__name__)


class DeviceError(FiqaError, RuntimeError):
    """The device that was asked for is not there."""


class Gpus(Protocol):
    """The GPUs that this process may use."""

    def count(self) -> int:
        """Their number; 0 where there is no driver."""

    def identity(self, index: int) -> str:
        """A name of the physical GPU: the same in every process, whatever CUDA_VISIBLE_DEVICES says there."""


class TorchGpus:
    """The GPUs that torch sees."""

    def count(self) -> int:
        """Their number; 0 where there is no driver or no CUDA build."""
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def identity(self, index: int) -> str:
        """The GPU's UUID."""
        import torch

        return str(torch.cuda.get_device_properties(index).uuid)


@dataclass(frozen=True)
class Claim:
    """A GPU that this process took, until it ends. `share`: how many processes had taken it before."""

    index: int
    share: int
    process: int
    descriptor: int


_claim: Claim | None = None


def resolve_device(name: str, gpus: Gpus | None = None) -> "torch.device":
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` takes a GPU if there is one. A GPU that is named and missing is an error, never a CPU run.
    """
    import torch

    gpus = gpus or TorchGpus()
    if name == "auto":
        name = "cuda" if gpus.count() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise DeviceError(f"device {name!r} is not known; expected auto, cpu, cuda or cuda:N")
    count = gpus.count()
    if int(number or 0) >= count:
        raise DeviceError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees {counted(count, 'GPU')} here. "
            "Check the driver and that torch is a CUDA build, or run with --device cpu."
        )
    return torch.device(name)


def worker_device(name: str, gpus: Gpus | None = None, folder: Path | None = None) -> str:
    """The device of a worker process: as `resolve_device`, but `cuda` is the GPU that fewest others use.

    Worker processes of one machine (whichever runner started them) share out its GPUs among themselves by
    locks on files in `folder`. The operating system gives a lock back when its process ends, however it ends.

    Raises:
        DeviceError: the device is not there.
    """
    if name == "cpu":
        return name
    gpus = gpus or TorchGpus()
    device = resolve_device(name, gpus)
    if device.type != "cuda" or device.index is not None:
        return str(device)
    count = gpus.count()
    return f"cuda:{_claimed(gpus, count, folder).index}" if count > 1 else "cuda:0"


def gpus_to_share(name: str, gpus: Gpus | None = None) -> int:
    """How many GPUs the device option leaves to be shared out: all for `cuda` (and `auto`), 1 for `cuda:N`, else 0."""
    gpus = gpus or TorchGpus()
    if name in ("auto", "cuda"):
        return gpus.count()
    return int(name.startswith("cuda:"))


def _claimed(gpus: Gpus, count: int, folder: Path | None) -> Claim:
    """The claim of this process, which it makes once (a forked child makes its own)."""
    global _claim  # a claim is a fact about the process, not about any object in it
    if _claim is None or _claim.process != os.getpid() or _claim.index >= count:
        _claim = _make_claim(gpus, count, folder or _claims_folder())
        _log.info("this process uses GPU %d of %d (%d others on it)", _claim.index, count, _claim.share)
    return _claim


def _make_claim(gpus: Gpus, count: int, folder: Path) -> Claim:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for share in itertools.count():
        for index in range(count):
            path = folder / f"{gpus.identity(index)}-{share}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Claim(index, share, os.getpid(), descriptor)
            os.close(descriptor)
    raise AssertionError("unreachable")


def _claims_folder() -> Path:
    # Each user has a folder of their own: nobody else may hold or break our locks.
    return Path(tempfile.gettempdir()) / f"fiqa-gpus-{os.getuid()}"
