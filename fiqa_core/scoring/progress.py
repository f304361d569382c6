"""Live progress across processes: each worker writes a small note to the local disk, and the driver adds them up."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fiqa_core.runs.layout import PROGRESS
from fiqa_core.storage import absolute, is_local, join

_EVERY_S = 1.0
_AFTER_A_FAILURE_S = 30.0

# What a tar adds to an image: a header block and, on average, half a block of padding. Sidecars are extra;
# the first finished unit shows how much.
_OVERHEAD_BYTES = 512 + 256


class Tally(NamedTuple):
    """Records done, how many of them were rejected, bytes of the shards they came from, and units finished.

    Bytes are exact for finished units and an estimate for the current one; 0 if a unit's size is unknown.
    """

    rows: int = 0
    rejected: int = 0
    size: int = 0
    units: int = 0


class Progress(NamedTuple):
    """`now`: done by this run; `kept`: done by an earlier run."""

    now: Tally = Tally()
    kept: Tally = Tally()


def add(a: Progress, b: Progress) -> Progress:
    """The sum of two."""
    now, kept = (Tally(*map(sum, zip(x, y, strict=True))) for x, y in zip(a, b, strict=True))
    return Progress(now, kept)


class Heartbeat:
    """A worker's running count, one unit at a time.

    Args:
        output: folder URI of the run; notes are written there if it is on a disk that driver and workers share.
            None for no notes.
    """

    def __init__(self, output: str | None = None) -> None:
        self._path: Path | None = None
        if output is not None and is_local(output):
            self._path = Path(absolute(join(output, PROGRESS))) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        self._progress = Progress()
        self._attempt = Tally()
        self._unit_size = self._stored = self._reached = 0
        self._finished_size = self._finished_stored = 0
        self._next = 0.0

    @contextmanager
    def attempt(self, unit_size: int) -> Iterator[None]:
        """Score one unit of `unit_size` bytes (-1: unknown) inside; if it raises, its rows are subtracted again."""
        self._attempt, self._unit_size, self._stored, self._reached = Tally(), max(unit_size, 0), 0, 0
        try:
            yield
        except BaseException:
            self._count_attempt(Tally(*(-n for n in self._attempt)))
            self._renew()
            raise
        self._finished_size += self._unit_size
        self._finished_stored += self._stored
        self._count_attempt(Tally(size=self._unit_size - self._attempt.size, units=1))
        self._renew()

    def add(self, rows: int, rejected: int, stored: int, reached: int = 0) -> None:
        """Count rows of the current unit, whose images are `stored` bytes; the note is rewritten once a second.

        `reached`: bytes of the shard read so far, including sidecars and headers; 0: unknown, then the finished part is
        estimated from the images.
        """
        self._stored += stored + rows * _OVERHEAD_BYTES
        self._reached = max(self._reached, reached)
        ratio = self._finished_size / self._finished_stored if self._finished_stored else 1.0
        size = min(self._unit_size, self._reached or int(self._stored * ratio))
        self._count_attempt(Tally(rows, rejected, size - self._attempt.size))
        if time.monotonic() >= self._next:
            self._renew()

    def keep(self, rows: int, rejected: int, unit_size: int) -> None:
        """Count a unit that an earlier run finished."""
        self.count(Progress(kept=Tally(rows, rejected, max(unit_size, 0), 1)))
        self._renew()

    def count(self, change: Progress) -> None:
        """All changes go through here; numbers are negative when an attempt is undone."""
        self._progress = add(self._progress, change)

    def _count_attempt(self, change: Tally) -> None:
        self._attempt = add(Progress(self._attempt), Progress(change)).now
        self.count(Progress(change))

    def _renew(self) -> None:
        if self._path is None:
            return
        self._next = time.monotonic() + _EVERY_S
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(self._progress))
            temporary.replace(self._path)
        except OSError:
            # A failure to report progress must never fail a unit (and the folder is removed when the run ends).
            self._next = time.monotonic() + _AFTER_A_FAILURE_S


def read_progress(output: str) -> Progress:
    """The sum of the workers' counts; zero if there are none."""
    progress = Progress()
    folder = Path(absolute(join(output, PROGRESS)))
    for path in folder.glob("*.json") if is_local(output) else ():
        try:
            now, kept = json.loads(path.read_text())
            note = Progress(Tally(*map(int, now)), Tally(*map(int, kept)))
        except (OSError, ValueError, TypeError, OverflowError, RecursionError):
            continue
        progress = add(progress, note)
    return progress
