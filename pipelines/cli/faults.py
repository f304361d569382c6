"""How an error is said: one sentence where it was foreseen, the trace and a request to report it where not."""

import errno
import logging
import sys
import traceback
from types import TracebackType

from pipelines.cli.log_format import Lines

REPORT = (
    "this is a fault of the program, not of your input: please report it with the lines above (and the command). What "
    "is finished is kept; --resume goes on from it."
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


def log_error(log: logging.Logger, error: Exception) -> None:
    """Say an error: in its own words where this program or a store raised it, else with its trace."""
    if is_foreseen(error):
        said = sentence(error)
        # The error itself knows whether its line breaks are meant.
        log.error("%s", error if said == str(error) else said)
        return
    log.error("%s", Lines("".join(traceback.format_exception(error)).rstrip()))
    log.error("%s: %s", type(error).__name__, REPORT)


def sentence(error: BaseException) -> str:
    """The error in words: for one of the operating system the place, what is wrong there, and what to do."""
    if isinstance(error, OSError) and error.errno is not None and error.filename and error.strerror:
        places = [str(place) for place in (error.filename, error.filename2) if place]
        remedy = _REMEDIES.get(error.errno)
        return f"{' -> '.join(places)}: {error.strerror}." + (f" {remedy}." if remedy else "")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        # A write that fails does not name its file.
        return f"{error.strerror}, where the output or temporary files lie. {_REMEDIES[error.errno]}."
    return str(error) or type(error).__name__


def is_foreseen(error: BaseException) -> bool:
    """Whether an error is one that this program raises itself, or of the operating system, a store or memory."""
    if isinstance(error, OSError | MemoryError) or _is_ours(type(error).__module__):
        return True
    return isinstance(error, ValueError | RuntimeError) and _raised_by_us(error.__traceback__)


def _raised_by_us(trace: TracebackType | None) -> bool:
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get("__name__", "")
    main = getattr(sys.modules["__main__"].__spec__, "name", "") if name == "__main__" else ""
    return _is_ours(name) or _is_ours(main)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OURS
