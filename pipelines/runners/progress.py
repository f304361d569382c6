"""How far the run is: a live line on a terminal, a log line every 30 seconds elsewhere."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple

from fiqa_core.scoring.progress import Progress
from fiqa_core.shards.plan import Plan
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_LOG_EVERY_S = 30.0
_CLEAR = "\r\x1b[K"


_stage: ContextVar[str] = ContextVar("stage", default="")


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Within this block every line of progress begins with the name of the stage of a longer command."""
    token = _stage.set(name)
    try:
        yield
    finally:
        _stage.reset(token)


class Whole(NamedTuple):
    """What there is to do, in three measures; None where only reading can tell."""

    records: int | None
    size: int | None
    units: int


def whole_of(plan: Plan) -> Whole:
    """Records, bytes of the shards, and units of a plan."""
    sizes = [unit.size for unit in plan.units]
    return Whole(plan.records, None if -1 in sizes else sum(sizes), len(sizes))


class ProgressMonitor:
    """Shows the workers' progress while the pipeline runs.

    Args:
        read: gives the workers' counts together, whenever asked.
        plan: what there is to do.
        live_every_s: seconds from one renewal of the line on a terminal to the next.
    """

    def __init__(self, read: Callable[[], Progress], plan: Plan, live_every_s: float = 1.0) -> None:
        self._read = read
        self._live_every_s = live_every_s
        self._whole = whole_of(plan)
        self._stage = _stage.get()  # the thread below has no context of its own
        self._live = sys.stderr.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._cleared: list[logging.Handler] = []

    def __enter__(self) -> "ProgressMonitor":
        if self._live:
            handlers = logging.getLogger().handlers
            self._cleared = [h for h in handlers if isinstance(h, logging.StreamHandler) and h.stream is sys.stderr]
            for handler in self._cleared:
                handler.addFilter(_clear_before)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for handler in self._cleared:
            handler.removeFilter(_clear_before)
        if self._live:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()

    def _run(self) -> None:
        warned = False
        started = time.monotonic()
        while not self._stop.wait(self._live_every_s if self._live else _LOG_EVERY_S):
            try:
                done = self._read()
            except Exception as error:
                # Progress is not essential: a service that does not answer must not end the run.
                _log.log(
                    logging.DEBUG if warned else logging.WARNING, "no progress: %s: %s", type(error).__name__, error
                )
                warned = True
                continue
            line = self._stage + self._line(done, time.monotonic() - started)
            if not done.now.rows:
                # Workers start and load the network first, which says nothing about their speed.
                started = time.monotonic()
            if self._live:
                sys.stderr.write(_CLEAR + line[: _columns() - 1])
                sys.stderr.flush()
            else:
                _log.info(line)

    def _line(self, done: Progress, seconds: float) -> str:
        return progress_line(done, self._whole, seconds)


class SubsetMonitor(ProgressMonitor):
    """The same for images that are written again, none of which is rejected.

    Args:
        read: as above. images, tasks: what there is to write.
    """

    def __init__(self, read: Callable[[], Progress], images: int, tasks: int, live_every_s: float = 1.0) -> None:
        super().__init__(read, Plan(()), live_every_s)
        self._whole = Whole(images, None, tasks)

    def _line(self, done: Progress, seconds: float) -> str:
        return "written: " + super()._line(done, seconds).rpartition(",")[0]


def progress_line(done: Progress, whole: Whole, seconds: float) -> str:
    """Images done of the total (or the part done, in percent), images a second, time left, rejects.

    The part done is one of records where their number is known, else of the shards' bytes, else of units.
    What an earlier run did counts as done but not for the rate; `seconds`: the time that the rest took.
    """
    now, kept = done
    rows = now.rows + kept.rows
    if whole.records is not None:
        total, done_now, done_before = whole.records, now.rows, kept.rows
        text = f"{min(rows, total):,} of {counted(total, 'image')}"
    else:
        if whole.size is not None:
            total, done_now, done_before = whole.size, now.size, kept.size
        else:
            total, done_now, done_before = whole.units, now.units, kept.units
        part = min((done_now + done_before) / total, 1.0) if total else 1.0
        text = f"{counted(rows, 'image')}, {int(part * 1000) / 10} %"
    if kept.rows:
        text += f" ({kept.rows:,} from an earlier run)"
    text += f", {now.rows / seconds if seconds > 0 else 0.0:,.1f} images/s"
    if done_now > 0:
        left = int(max(total - done_before - done_now, 0) * seconds / done_now)
        text += f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    return f"{text}, {now.rejected + kept.rejected:,} rejected"


def _clear_before(_: logging.LogRecord) -> bool:
    """A log line takes the live line's place; the next renewal shows it again below."""
    sys.stderr.write(_CLEAR)
    sys.stderr.flush()
    return True


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
