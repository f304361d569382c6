"""GPUs as Dataflow names them, and the Compute Engine machine types that carry them."""

import argparse
import re
from dataclasses import dataclass

from fiqa_core.errors import FiqaError

# Accelerator type -> number of GPUs -> machine type (Compute Engine's tables of GPU machine types). G2, A2 and A3
# machines come with their GPUs, N1 machines have them attached.
_MACHINES: dict[str, dict[int, str]] = {
    "nvidia-l4": {1: "g2-standard-4", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
    "nvidia-tesla-t4": {1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-16"},
    "nvidia-tesla-p4": {1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-16"},
    "nvidia-tesla-p100": {1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-16"},
    "nvidia-tesla-v100": {1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-16", 8: "n1-standard-32"},
    "nvidia-tesla-a100": {1: "a2-highgpu-1g", 2: "a2-highgpu-2g", 4: "a2-highgpu-4g", 8: "a2-highgpu-8g"},
    "nvidia-a100-80gb": {1: "a2-ultragpu-1g", 2: "a2-ultragpu-2g", 4: "a2-ultragpu-4g", 8: "a2-ultragpu-8g"},
    "nvidia-h100-80gb": {1: "a3-highgpu-1g", 2: "a3-highgpu-2g", 4: "a3-highgpu-4g", 8: "a3-highgpu-8g"},
    "nvidia-h100-mega-80gb": {8: "a3-megagpu-8g"},
}

_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_MOST = 16


class MachineError(FiqaError, ValueError):
    """No machine type is known for a GPU request."""


@dataclass(frozen=True)
class Gpu:
    """GPUs of one worker: Dataflow's accelerator `type`, and how many."""

    type: str
    count: int = 1

    @property
    def accelerator(self) -> str:
        """The request in the form of Beam's `accelerator` hint and of the `worker_accelerator` service option."""
        return f"type:{self.type};count:{self.count};install-nvidia-driver"

    def __str__(self) -> str:
        return self.type if self.count == 1 else f"{self.type}:{self.count}"


def parse_gpu(text: str) -> Gpu:
    """`nvidia-l4` or `nvidia-l4:2`, for argparse."""
    kind, separator, count = text.strip().lower().partition(":")
    try:
        return _checked(kind, count if separator else "1")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def parse_accelerator(text: str) -> Gpu:
    """The GPUs of `type:nvidia-l4;count:1;install-nvidia-driver`, Dataflow's own form.

    Raises:
        ValueError: it names no type, or a count that is none, or leaves the driver out.
    """
    parts = dict(part.partition(":")[::2] for part in text.split(";"))
    if "install-nvidia-driver" not in parts:
        raise ValueError(f"{text!r} has no install-nvidia-driver, without which the workers cannot use the GPU")
    return _checked(parts.get("type", ""), parts.get("count", "1"))


def machine_type(gpu: Gpu) -> str:
    """The smallest usual machine type that carries the GPUs.

    Raises:
        MachineError: none is known here; the message says what is.
    """
    by_count = _MACHINES.get(gpu.type)
    if by_count is None:
        known = ", ".join(_MACHINES)
        raise MachineError(f"no machine type is known here for {gpu.type}; known without it: {known}")
    if gpu.count not in by_count:
        counts = ", ".join(map(str, by_count))
        raise MachineError(f"no machine type with {gpu.count} x {gpu.type} is known here; known without it: {counts}")
    return by_count[gpu.count]


def _checked(kind: str, count: str) -> Gpu:
    if not _TYPE.fullmatch(kind):
        raise ValueError(f"expected a type as Dataflow names it, for example {', '.join(list(_MACHINES)[:3])}")
    if not count.isdecimal() or not 1 <= int(count) <= _MOST:
        raise ValueError(f"expected a number of GPUs from 1 to {_MOST} after the colon")
    return Gpu(kind, int(count))
