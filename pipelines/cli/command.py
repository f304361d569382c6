"""What every command has in common: logging, exit codes, and errors that are said once, without a trace."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.wording import visible
from pipelines.cli.faults import log_error
from pipelines.cli.interrupts import INTERRUPTED, watched
from pipelines.cli.log_format import Lines, VisibleFormatter
from pipelines.runners.beam_options import JobError, beam_options, processes_chosen

EXIT_OK, EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 2, 3, INTERRUPTED


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line: the usage of so many options would bury it."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {visible(message)}\nAll options: {self.prog} --help\n")


def set_up_logging(level: int = logging.INFO) -> None:
    """Our own lines from `level` on, on standard error; of the libraries only what went wrong."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # A library that warns while it is imported (Beam, without the extra [gcp]) has set up a handler of its own by
        # that, and ours and its level would be ignored.
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    ours = logging.StreamHandler(sys.stderr)
    ours.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[ours])
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # It logs the trace of whatever ends a job; the error itself comes back, and its reason is said once.
    logging.getLogger("apache_beam.runners.worker.sdk_worker").setLevel(logging.CRITICAL)
    logging.getLogger("fsspec").setLevel(logging.WARNING)  # it tells of every remote file that is opened


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    log: logging.Logger,
    body: Callable[[argparse.Namespace, PipelineOptions], int],
) -> int:
    """Parse, set up logging, run `body`; its exit code, or that of the error it ended with."""
    arguments, rest = parser.parse_known_args(argv)
    set_up_logging()
    workers = getattr(arguments, "workers", None)
    arguments.processes_chosen = processes_chosen(rest, workers)
    return guarded(
        log,
        lambda: body(arguments, beam_options(rest, list(parser._option_string_actions), workers)),
        "interrupted; what is finished is kept: run the same command with --resume",
    )


def guarded(log: logging.Logger, body: Callable[[], int], interrupted: str) -> int:
    """The exit code of `body`, or that of the error it ended with, which is said once.

    Args:
        interrupted: what is said of a Ctrl-C that does not say more itself.
    """
    with watched(log) as watch:
        try:
            return body()
        except KeyboardInterrupt as interrupt:
            log.error("%s", Lines(str(interrupt) or interrupted))
            return EXIT_INTERRUPTED
        except Exception as error:
            if watch.happened:
                # What the interruption made of a library's own work.
                log.error("%s", interrupted)
                return EXIT_INTERRUPTED
            log_error(log, error)
            if isinstance(error, JobError):
                log.error("what is finished is kept; run again with --resume")
            return EXIT_BAD_INPUT


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def named(text: str) -> str:
    """A file, folder or URI, for argparse: not the empty text that an unset shell variable leaves."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a name, found an empty text (an unset variable?)")
    return text
