"""How an error is printed: one of ours in its own words, a bug with its trace and a request to report it."""

import errno
import logging
import traceback

from fiqa_core.errors import FiqaError
from pipelines.cli.log_format import Lines

REPORT = (
    "this is a fault of the program, not of your input: please report it with the lines above (and the command). A "
    "command with --resume goes on from what is finished."
)
_OURS = ("fiqa_core", "pipelines", "transforms", "schemas")
_REMEDIES = {
    errno.EACCES: "Check who may write there, or choose another place",
    errno.EPERM: "Check who may write there, or choose another place",
    errno.EROFS: "Choose a place that can be written to",
    errno.ENOTDIR: "A part of this name is a file, not a folder; choose another name",
    errno.EEXIST: "A file is there where a folder should be; choose another name",
    errno.EISDIR: "A folder is there where a file should be; choose another name",
    errno.ENOSPC: "Make room there; --resume goes on",
    errno.EDQUOT: "Make room there; --resume goes on",
    errno.ENAMETOOLONG: "Choose a shorter name",
}


class SystemRefusedError(FiqaError):
    """The operating system, a disk or the memory did not do what was asked."""


class NotInstalledError(FiqaError):
    """A package that the command needs is not in this environment."""


def as_ours(error: BaseException) -> FiqaError | None:
    """The error as one of ours, or None where it is a bug.

    Ours are those that this package raises itself, what the operating system refused, and a package that is missing.
    """
    if isinstance(error, FiqaError):
        return error
    if isinstance(error, OSError | MemoryError):
        return _from(error, SystemRefusedError(sentence(error)))
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in (*_OURS, ""):
        package = str(error.name).partition(".")[0]
        text = (
            f"the package {package!r}, which this command needs, is not installed. `fiqa doctor` says what is missing"
        )
        return _from(error, NotInstalledError(text))
    return None


def log_error(log: logging.Logger, error: FiqaError, debug: bool = False) -> None:
    """Print one of our errors in its own words; with `debug` its trace first."""
    if debug:
        log.error("%s", Lines(_trace(error.__cause__ or error)))
    log.error("%s", error if str(error) else type(error).__name__)


def log_bug(log: logging.Logger, error: BaseException) -> None:
    """Print the trace of an unforeseen error, and ask for a report."""
    log.error("%s", Lines(_trace(error)))
    log.error("%s: %s", type(error).__name__, REPORT)


def sentence(error: BaseException) -> str:
    """An error of the operating system in words: the place, what is wrong there, and what to do."""
    if isinstance(error, OSError) and error.errno is not None and error.filename and error.strerror:
        places = [str(place) for place in (error.filename, error.filename2) if place]
        remedy = _REMEDIES.get(error.errno)
        return f"{' -> '.join(places)}: {error.strerror}." + (f" {remedy}." if remedy else "")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        # A write that fails does not name its file.
        return f"{error.strerror}, where the output or temporary files lie. {_REMEDIES[error.errno]}."
    if isinstance(error, MemoryError):
        return f"not enough memory{f' ({error})' if str(error) else ''}. Close other programs, or use fewer --workers"
    return str(error) or type(error).__name__


def _from(cause: BaseException, error: FiqaError) -> FiqaError:
    error.__cause__ = cause
    return error


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
