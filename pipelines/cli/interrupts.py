"""One Ctrl-C is one line: what libraries and worker processes would print about it is left out.

Nothing but the standard library is imported here: it is set up before the seconds that the other imports take.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pipelines.cli.exit_codes import EXIT_INTERRUPTED

# Some programs send a signal to the process and again to its group.
_SAME_S = 2.0


class Watch:
    """Whether and when the command was interrupted."""

    def __init__(self) -> None:
        self.since: float | None = None

    @property
    def happened(self) -> bool:
        """Whether there was a Ctrl-C."""
        return self.since is not None


_on_interrupt: list[Callable[[], None]] = []


def on_interrupt(action: Callable[[], None]) -> None:
    """Register an action for the moment of an interruption, such as ending the worker processes."""
    if action not in _on_interrupt:
        _on_interrupt.append(action)


def end_imports_quietly() -> None:
    """A Ctrl-C while a command's modules are imported ends it with one line; nothing has begun by then."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def watched(log: logging.Logger) -> Iterator[Watch]:
    """Raise KeyboardInterrupt at the first Ctrl-C, and show only the lines of `log` from then on.

    A second one, seconds later, ends the process at once. If Ctrl-C is ignored or handled elsewhere, or this is not
    the main thread, nothing changes.
    """
    watch = Watch()
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (before in (signal.default_int_handler, _end) or hasattr(before, "is_ours")):
        yield watch
        return
    hook, unraisable = threading.excepthook, sys.unraisablehook
    handlers: list[logging.Handler] = []

    def only_ours(record: logging.LogRecord) -> bool:
        return record.name == log.name

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if watch.since is not None:
            if time.monotonic() - watch.since < _SAME_S:
                return
            sys.stderr.write("ended at once\n")
            os._exit(EXIT_INTERRUPTED)
        watch.since = time.monotonic()
        handlers.extend(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(only_ours)
        threading.excepthook = _ignore
        sys.unraisablehook = _ignore
        for action in _on_interrupt:
            action()
        raise KeyboardInterrupt

    note.is_ours = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, note)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGINT, before)
        for handler in handlers:
            handler.removeFilter(only_ours)
        if not watch.happened:
            threading.excepthook, sys.unraisablehook = hook, unraisable


def _ignore(_: object) -> None:
    """In place of the trace of a thread that was interrupted."""


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.stderr.write("interrupted; nothing was begun\n")
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)
