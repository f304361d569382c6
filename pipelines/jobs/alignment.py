"""From the options of alignment to what aligns."""

import argparse

from fiqa_core.alignment.choice import FaceRule
from fiqa_core.alignment.detector_file import PACKAGED, read_detector
from fiqa_core.alignment.settings import AlignSettings
from fiqa_core.alignment.source import AlignerSource
from pipelines.cli.errors import OptionError


def aligner_source(arguments: argparse.Namespace) -> AlignerSource | None:
    """What makes the aligner; None without --align. The detector is tried here, before anything else is done.

    Raises:
        OptionError: --detector or --faces without --align.
        AlignmentError: the detector is not there or cannot be used.
    """
    if not arguments.align:
        given = [f"--{name}" for name in ("detector", "faces") if getattr(arguments, name) is not None]
        if given:
            raise OptionError(f"{', '.join(given)}: only used with --align")
        return None
    source = AlignerSource.of(
        read_detector(arguments.detector or PACKAGED), FaceRule(arguments.faces or FaceRule.CENTRE)
    )
    source.load()
    return source


def align_settings(source: AlignerSource | None) -> AlignSettings | None:
    """Those of the table."""
    return None if source is None else source.settings
