"""Which device the network runs on: what was asked for, or an error."""

import torch


class DeviceError(RuntimeError):
    """The device that was asked for is not there."""


def resolve_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` takes a GPU if there is one. A GPU that is named and missing is an error, never a CPU run.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise DeviceError(f"device {name!r} is not known; expected auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise DeviceError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees {count} GPUs here. "
            "Check the driver and that torch is a CUDA build, or run with --device cpu."
        )
    return torch.device(name)
