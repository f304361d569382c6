"""What measure_baselines does once its command line is read."""

import argparse
import logging
from collections.abc import Sequence

from fiqa_core.scoring.scorer_sources import MeasureSource
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.cli import table_options
from pipelines.cli.parser import Parser
from pipelines.jobs.alignment import align_settings, aligner_source
from pipelines.jobs.table_job import TableJob, by_quality, prepare_workers, quality_lines, run_table
from pipelines.runners.beam_options import command_options

_log = logging.getLogger("measure_baselines")


def run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser) -> int:
    """Measure; `rest`: Beam's options."""
    options = command_options(arguments, rest, parser)
    workers = prepare_workers(arguments, options, lambda device: device)
    aligner = aligner_source(arguments)
    settings = ScoreSettings(
        arguments.measure,
        "none",
        "0" * 64,
        channel_order=arguments.channel_order,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        phash=arguments.phash,
        measures=arguments.measures,
        align=align_settings(aligner),
    )
    source = MeasureSource(arguments.measure)
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, by_quality, aligner))
