"""`--precision` and `--compile`: what `auto` means for this run, said once, and part of the table's settings."""

import argparse
import dataclasses
import logging
import shutil
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.devices import resolve_device
from fiqa_core.scoring.precision import GAIN_ON_GPU, PRECISIONS, is_half, resolve_precision
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import Plan
from pipelines.runners.beam_options import is_local
from pipelines.runners.local_workers import planned_images
from transforms.score import CheckpointScorer, ScorerSource

_log = logging.getLogger(__name__)

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
        help="of a checkpoint (auto: fp32 on a CPU; on a GPU fp16 for a ViT, tf32 for an IResNet; fp32 gives exact "
        "scores; tf32 is for GPUs, int8 for ViT networks on a CPU)",
    )
    speed.add_argument(
        "--compile",
        choices=("auto", "on", "off"),
        default="auto",
        help=f"compile the network with torch.compile (auto: on a GPU of this machine from {COMPILE_IMAGES:,} images "
        "on, which repay its 12-18 s)",
    )


def settle_precision(arguments: argparse.Namespace, options: PipelineOptions, device: str, arch: str) -> str:
    """The precision of this run: what was asked for, or what `auto` means on the workers' device; said in the log.

    Where the workers are elsewhere and nobody said what they have, `auto` is fp32: one table is one precision.

    Raises:
        PrecisionError: the device does not have it.
    """
    known = device if device != "auto" else str(resolve_device("auto")) if is_local(options) else "cpu"
    precision = resolve_precision(arguments.precision, known, arch)
    if arguments.precision == "auto":
        _say(precision, known)
    arguments.precision = precision  # the batch size is a setting in half precision only
    return precision


def _say(precision: str, device: str) -> None:
    if precision in GAIN_ON_GPU:
        _log.info("precision %s (%s); --precision fp32 for exact scores", precision, GAIN_ON_GPU[precision])
    elif device == "cpu" and (hint := cpu_hint()):
        _log.info("precision fp32; on this CPU --precision %s is %s", *hint)


def cpu_hint(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str] | None:
    """The faster precision of this CPU with what it gains and costs, measured with vit_s; None where none is known."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    return next(((precision, text) for flag, precision, text in _CPU_HINTS if flag in flags), None)


def settle_compile(
    arguments: argparse.Namespace, options: PipelineOptions, settings: ScoreSettings, source: ScorerSource, plan: Plan
) -> tuple[ScoreSettings, ScorerSource]:
    """Settings and source, with `compiled` where the network is to be compiled."""
    chosen = getattr(arguments, "compile", "off")
    if not isinstance(source, CheckpointScorer) or chosen == "off":
        return settings, source
    if chosen == "auto":
        on_gpu = is_local(options) and resolve_device(source.device).type == "cuda"
        repaid = on_gpu and is_half(settings.precision) and planned_images(plan) >= COMPILE_IMAGES
        if not repaid or (shutil.which("cc") is None and shutil.which("gcc") is None):
            return settings, source
        _log.info("the network is compiled (12-18 s, 1.1 times as fast); --compile off leaves it as it is")
    compiled = dataclasses.replace(settings, compiled=True)
    return compiled, dataclasses.replace(source, settings=compiled)
