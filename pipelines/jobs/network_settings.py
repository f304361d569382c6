"""What `auto` means for this run: precision and compilation, logged once and part of the table's settings."""

import argparse
import dataclasses
import logging
import shutil

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.devices import resolve_device
from fiqa_core.scoring.precision import GAIN_ON_GPU, is_half, resolve_precision
from fiqa_core.scoring.scorer_sources import CheckpointScorer, ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import Plan
from pipelines.cli.precision_options import COMPILE_IMAGES, cpu_hint
from pipelines.runners.beam_options import is_local
from pipelines.runners.local_workers import planned_images

_log = logging.getLogger(__name__)


def settle_precision(arguments: argparse.Namespace, options: PipelineOptions, device: str, arch: str) -> str:
    """The precision of this run: what was asked for, or what `auto` means on the workers' device; logged.

    If the workers are elsewhere and their device is not given, `auto` is fp32: one table has one precision.

    Raises:
        PrecisionError: the device does not have it.
    """
    known = device if device != "auto" else str(resolve_device("auto")) if is_local(options) else "cpu"
    precision = resolve_precision(arguments.precision, known, arch)
    if arguments.precision == "auto":
        _log_precision(precision, known, arch)
    arguments.precision = precision  # the batch size is a setting in half precision only
    return precision


def _log_precision(precision: str, device: str, arch: str) -> None:
    if precision in GAIN_ON_GPU:
        _log.info("precision %s (%s); --precision fp32 for exact scores", precision, GAIN_ON_GPU[precision])
    elif device == "cpu" and (hint := cpu_hint(convolutional="conv" in arch)):
        _log.info("precision fp32; on this CPU --precision %s is %s", *hint)


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
