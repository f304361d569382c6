"""What every command has in common: parsing, logging, exit codes, and errors that are printed once."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from pipelines.cli.errors import JobError
from pipelines.cli.exit_codes import (
    EXIT_BAD_INPUT,
    EXIT_BUG,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNANSWERED,
)
from pipelines.cli.faults import as_ours, log_bug, log_error
from pipelines.cli.interrupts import watched
from pipelines.cli.log_format import Lines, VisibleFormatter
from pipelines.cli.parser import Parser
from pipelines.cli.program import called_commands

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_BUG",
    "EXIT_INCOMPLETE",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_UNANSWERED",
    "Body",
    "guarded",
    "named",
    "positive",
    "run_command",
    "set_up_logging",
    "whole",
]

# What a command does: takes its options and what they leave over, gives its exit code.
Body = Callable[[argparse.Namespace, list[str]], int]

KEPT = "interrupted; what is finished is kept: run the same command with --resume"


def run_command(
    parser: Parser,
    argv: Sequence[str] | None,
    log: logging.Logger,
    load: Callable[[], Body],
    interrupted: str = KEPT,
    level: int = logging.INFO,
) -> int:
    """Parse, set up logging, run the command; its exit code, or that of the error it ended with.

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        load: imports what the command needs and gives its body. Not called for --help or a bad option, so that these
            wait for neither Beam nor torch.
        interrupted: what a Ctrl-C is answered with, where the body does not say more itself.
        level: log lines from this level on are shown.
    """
    arguments, rest = parser.parse_known_args(argv)
    debug = vars(arguments).pop("debug")
    set_up_logging(level)
    for warning in parser.warnings:
        log.warning("%s", warning)
    try:
        body = load()
    except Exception as error:
        return _failed(log, error, debug)
    return guarded(log, lambda: body(arguments, rest), interrupted, debug)


def guarded(log: logging.Logger, body: Callable[[], int], interrupted: str, debug: bool = False) -> int:
    """The exit code of `body`, or that of the error it ended with, which is printed once.

    Args:
        interrupted: what a Ctrl-C is answered with, where the body does not say more itself.
        debug: show the trace of every error, not of bugs only.
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
            return _failed(log, error, debug)


def _failed(log: logging.Logger, error: Exception, debug: bool) -> int:
    known = as_ours(error)
    if known is None:
        log_bug(log, error)
        return EXIT_BUG
    log_error(log, known, debug)
    if isinstance(known, JobError):
        log.error("what is finished is kept; run again with --resume")
    return EXIT_BAD_INPUT


def set_up_logging(level: int = logging.INFO) -> None:
    """Our own lines from `level` on, on standard error; of the libraries only what went wrong."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # A library that warns while it is imported has set up a handler of its own by that, and ours and its level
        # would be ignored.
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    ours = logging.StreamHandler(sys.stderr)
    ours.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s", called_commands()))
    ours.addFilter(_is_wanted)
    logging.basicConfig(level=level, handlers=[ours])
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # It logs the trace of whatever ends a job; the error itself comes back, and its reason is printed once.
    logging.getLogger("apache_beam.runners.worker.sdk_worker").setLevel(logging.CRITICAL)
    logging.getLogger("fsspec").setLevel(logging.WARNING)  # it logs every remote file that is opened


def _is_wanted(record: logging.LogRecord) -> bool:
    """Not what Beam logs as it is imported without the extra [gcp], which only Dataflow needs."""
    return not (record.name == "root" and str(record.msg).startswith("apitools not found"))


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def whole(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return int(text)


def rate(text: str) -> float:
    """An error rate between 0 and 1, neither of them, for argparse."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"expected a rate between 0 and 1, found {text!r}")
    return found


def named(text: str) -> str:
    """A file, folder or URI, for argparse: not the empty text that an unset shell variable leaves."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a name, found an empty text (an unset variable?)")
    return text
