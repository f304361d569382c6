"""`--precision` and `--compile`, and the hint about a faster precision on this machine."""

import argparse
from pathlib import Path

from fiqa_core.scoring.precision import PRECISIONS

# One H100, vit_s, fp16: 26,200 images/s as it is and 29,600 compiled, which takes 12-18 s: repaid after 4 M images.
COMPILE_IMAGES = 4_000_000

# Flags of /proc/cpuinfo -> what vit_s gains on such a CPU over fp32, and the rank agreement (Spearman) of its scores.
_CPU_HINTS = (
    ("amx_bf16", "bf16", "about 3 times as fast; ranks agree to 0.999"),
    ("avx512_vnni", "int8", "about 2.9 times as fast (ViT networks); ranks agree to 0.995"),
    ("avx_vnni", "int8", "about 2.9 times as fast (ViT networks); ranks agree to 0.995"),
    ("avx2", "int8", "about 1.8 times as fast (ViT networks); ranks agree to 0.997"),
)


def add_precision_options(speed: argparse._ArgumentGroup) -> None:
    """Numbers that the network computes in, and whether it is compiled."""
    speed.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="numbers that a checkpoint's network computes in (default: auto: fp32 on a CPU, and on a GPU fp16 "
        "for a ViT, tf32 for an IResNet). fp32 gives exact scores; tf32 is for GPUs, int8 for ViT networks on a CPU",
    )
    speed.add_argument(
        "--compile",
        choices=("auto", "on", "off"),
        default="auto",
        help="compile the network with torch.compile (default: auto, on a GPU of this machine from "
        f"{COMPILE_IMAGES:,} images on, which repay its 12-18 s)",
    )


def cpu_hint(cpuinfo: Path = Path("/proc/cpuinfo"), *, convolutional: bool = False) -> tuple[str, str] | None:
    """The faster precision of this CPU with what it gains and costs, measured with vit_s; None where none is known.

    Args:
        convolutional: whether most of the network's time goes into a convolutional stem, which int8 leaves as it is.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    hints = (hint for hint in _CPU_HINTS if not (convolutional and hint[1] == "int8"))
    return next(((precision, text) for flag, precision, text in hints if flag in flags), None)
