"""What report_dataset does once its command line is read."""

import argparse
import logging
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fiqa_core import storage
from fiqa_core.report.build import make_report
from fiqa_core.report.settings import ReportSettings
from fiqa_core.tables.groups import DEFAULT_COLUMN
from fiqa_core.tables.one_network import networks_of
from fiqa_core.tables.quality_files import parts_of
from fiqa_core.tables.whole_tables import whole_tables
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_OK
from pipelines.cli.log_format import report

_log = logging.getLogger("report_dataset")


def run(arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    """Make the report; options of others are refused before."""
    output = _output(arguments)
    if arguments.findings and not arguments.decisions:
        raise OptionError("--findings goes with --decisions: it says more of them")
    whole = whole_tables(arguments.quality, arguments.allow_incomplete, "calibrated")
    settings = ReportSettings(
        tuple(arguments.quality),
        storage.absolute(arguments.decisions) if arguments.decisions else "",
        storage.absolute(arguments.edc) if arguments.edc else "",
        tuple(dict.fromkeys(arguments.group_by)),
        arguments.examples,
        tuple(arguments.moved),
        _command(arguments),
        arguments.title,
        arguments.memory_mb << 20,
        arguments.threads or 0,
        storage.absolute(arguments.further) if arguments.further else "",
        group_key=arguments.group_key,
        group_column=arguments.group_column,
        findings=storage.absolute(arguments.findings) if arguments.findings else "",
        calibration=arguments.calibration or "",
        scale="percentile" if networks_of(whole.files) > 1 else "quality",
    )
    with tempfile.TemporaryDirectory(prefix="fiqa-") as folder:
        html = make_report(settings, parts_of(whole.urls), Path(folder), whole.files)
        _publish(html, output, Path(folder))
    report([f"written: {arguments.output} ({len(html) / 1e6:.1f} MB)"])
    return EXIT_OK


def _publish(html: bytes, output: str, workspace: Path) -> None:
    """Put the file in place whole. It may lie in the folder of a run that is at work: nothing else there is touched."""
    if not storage.is_local(output):
        path = workspace / "report.html"
        path.write_bytes(html)
        storage.publish(path, output)
        return
    beside = Path(storage.filesystem(output)[1]).parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fiqa-", dir=beside) as own:
        path = Path(own) / "report.html"
        path.write_bytes(html)
        storage.publish(path, output)


def _output(arguments: argparse.Namespace) -> str:
    output = storage.absolute(arguments.output)
    if not output.endswith((".html", ".htm")):
        raise OptionError(f"--output {arguments.output}: expected the name of a file that ends in .html")
    if storage.is_folder(output):
        raise OptionError(f"--output {arguments.output}: is a folder; the report is one file")
    if storage.stat(output) is not None and not arguments.overwrite:
        raise OptionError(f"--output {arguments.output}: there is such a file. Use --overwrite, or another name.")
    return output


def _command(arguments: argparse.Namespace) -> str:
    """The command line that makes this report again."""
    words = ["--quality", *arguments.quality]
    words += ["--decisions", arguments.decisions] if arguments.decisions else []
    words += ["--findings", arguments.findings] if arguments.findings else []
    words += ["--edc", arguments.edc] if arguments.edc else []
    words += ["--calibration", arguments.calibration] if arguments.calibration else []
    words += ["--further", arguments.further] if arguments.further else []
    words += ["--group-by", *arguments.group_by] if arguments.group_by else []
    words += ["--group-key", arguments.group_key] if arguments.group_key else []
    words += ["--group-column", arguments.group_column] if arguments.group_column != DEFAULT_COLUMN else []
    words += ["--moved", *(f"{old}={new}" for old, new in arguments.moved)] if arguments.moved else []
    return f"fiqa report {shlex.join([*words, '--output', arguments.output])}"
