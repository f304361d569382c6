"""How far the run is: a live line on a terminal, a log line every so often elsewhere."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from fiqa_core.scoring.progress import Progress
from fiqa_core.shards.plan import Plan

_log = logging.getLogger(__name__)
_LOG_EVERY_S = 30.0


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
        self._total = plan.records
        self._units = len(plan.units)
        self._live = sys.stderr.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._started = time.monotonic()

    def __enter__(self) -> "ProgressMonitor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._live:
            sys.stderr.write("\r\x1b[K")

    def _run(self) -> None:
        warned = False
        while not self._stop.wait(self._live_every_s if self._live else _LOG_EVERY_S):
            try:
                line = self.line(time.monotonic() - self._started)
            except Exception as error:
                # Progress is a courtesy: a service that does not answer must not end the run.
                _log.log(
                    logging.DEBUG if warned else logging.WARNING, "no progress: %s: %s", type(error).__name__, error
                )
                warned = True
                continue
            if self._live:
                sys.stderr.write(f"\r\x1b[K{line}")
                sys.stderr.flush()
            else:
                _log.info(line)

    def line(self, seconds: float) -> str:
        """Images done and total, images a second, time left, rejects."""
        done = self._read()
        rate = done.rows / seconds if seconds > 0 else 0.0
        text = f"{done.rows:,}"
        if self._total is not None:
            text += f" of {self._total:,}"
        text += f" images, {rate:,.1f} images/s, {done.rejected:,} rejected"
        if self._total is not None and rate > 0:
            left = int(max(self._total - done.rows, 0) / rate)
            text += f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        return text
