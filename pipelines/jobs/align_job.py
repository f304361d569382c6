"""What align_dataset does once its command line is read."""

import argparse
import logging
import shlex
from collections.abc import Sequence
from typing import Any

from fiqa_core.alignment.settings import CropSettings
from fiqa_core.runs.layout import CROPS, QUALITY
from fiqa_core.scoring.scorer_sources import NoScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.cli import table_options
from pipelines.cli.errors import OptionError
from pipelines.cli.parser import Parser
from pipelines.cli.program import runnable
from pipelines.jobs.alignment import align_settings, aligner_source
from pipelines.jobs.table_job import TableJob, prepare_workers, run_table, show_line
from pipelines.runners.beam_options import command_options

_log = logging.getLogger("align_dataset")


def run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser) -> int:
    """Align; `rest`: Beam's options."""
    options = command_options(arguments, rest, parser)
    workers = prepare_workers(arguments, options, lambda device: device)
    aligner = aligner_source(arguments)
    settings = ScoreSettings(
        "none",
        "none",
        "0" * 64,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        align=align_settings(aligner),
        crops=_crop_settings(arguments),
    )
    return run_table(
        TableJob(arguments, options, settings, NoScorerSource(), workers, _log, _no_figures, _next, aligner)
    )


def _crop_settings(arguments: argparse.Namespace) -> CropSettings:
    if arguments.jpeg_quality is None:
        return CropSettings(arguments.image_format)
    if arguments.image_format != "jpeg":
        raise OptionError("--jpeg-quality: only used with --image-format jpeg")
    if arguments.jpeg_quality > 100:
        raise OptionError(f"--jpeg-quality {arguments.jpeg_quality}: expected 1 to 100")
    return CropSettings(arguments.image_format, arguments.jpeg_quality)


def _no_figures(summary: dict[str, Any]) -> list[str]:  # noqa: ARG001
    return []


def _next(table: str) -> str:
    output = table.removesuffix(f"/{QUALITY}")
    columns = ["key", "status", "face_score", "eye_distance", "pose_yaw", "crops"]
    crops = shlex.quote(f"{output}/{CROPS}")
    return f"{show_line(table, columns)}\nthen: {runnable('score_dataset')} --input {crops} --output scores"
