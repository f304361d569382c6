"""The precision of a network: the choices, the meaning of `auto`, and how a network is converted."""

from typing import TYPE_CHECKING, Any

from fiqa_core.errors import FiqaError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "tf32", "fp16", "bf16", "int8")
_HALF = ("fp16", "bf16")

# Measured on one H100 with vit_s at batch 1024 and more: images/s over fp32, and the change of the scores.
GAIN_ON_GPU = {"fp16": "6.7 times the speed of fp32; ranks agree to 0.9999", "tf32": "3 times the speed of fp32"}


class PrecisionError(FiqaError, ValueError):
    """A precision that is unknown, or not available on the device."""


def resolve_precision(name: str, device: str, arch: str) -> str:
    """The precision that `auto` stands for; any other is returned unchanged.

    `auto` is fp32 on a CPU. On a GPU it is fp16 for a ViT and tf32 for an IResNet, whose scores move by 5 % of their
    standard deviation in fp16.

    Args:
        name: one of `PRECISIONS`. device: `cpu`, `cuda` or `cuda:N`. arch: the network's name.

    Raises:
        PrecisionError: it is unknown, or not available on this device.
    """
    if name not in PRECISIONS:
        raise PrecisionError(f"precision {name!r} is not known; expected one of {', '.join(PRECISIONS)}")
    on_gpu = device.startswith("cuda")
    if name == "auto":
        return ("tf32" if arch.startswith("iresnet") else "fp16") if on_gpu else "fp32"
    if name == "tf32" and not on_gpu:
        raise PrecisionError(f"precision tf32 is for NVIDIA GPUs; on {device} use fp32, bf16 or int8")
    return name


def is_half(precision: str) -> bool:
    """Whether scores in this precision depend, by rounding, on the number of images a batch."""
    return precision in (*_HALF, "tf32")


def dtype_of(precision: str) -> "torch.dtype | None":
    """The half-precision type of a precision, None for the others."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)


def set_matrix_precision(precision: str) -> None:
    """fp32 means fp32: TF32 would change the scores in the third digit, so it is on only where it was asked for."""
    import torch

    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def keeps_half_weights(network: Any, precision: str, device: str) -> bool:
    """Convert a network's weights to half precision if that helps; returns whether it did.

    On a GPU a ViT's patch embedding and blocks are, its final norm and heads stay float32: without the casts that
    autocast makes at every layer it is 1.3 times as fast there. On a CPU that gains nothing (measured with AVX512-BF16:
    1.01 times) and ranks agree less (0.998 for 0.9998), so there, and for other networks, autocast does it.
    """
    half = dtype_of(precision)
    to_half = getattr(network, "to_half", None)
    if half is None or to_half is None or device != "cuda":
        return False
    to_half(half)
    return True
