"""Live progress across processes: each worker leaves a small note on the local disk, the driver adds them up."""

import json
import os
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from fiqa_core.storage import absolute, is_local, join

FOLDER = "_progress"
_EVERY_S = 1.0


class Progress(NamedTuple):
    """Rows done, rows rejected, and the bytes or records of finished units."""

    rows: int
    rejected: int


class Heartbeat:
    """A worker's running count. Only for outputs on a disk that driver and workers share."""

    def __init__(self, output: str) -> None:
        self._path: Path | None = None
        if is_local(output):
            self._path = Path(absolute(join(output, FOLDER))) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        self._rows = self._rejected = 0
        self._next = 0.0

    def add(self, rows: int, rejected: int) -> None:
        """Count rows; the note is renewed about once a second."""
        self._rows += rows
        self._rejected += rejected
        if self._path is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_S
            self._write(self._path)

    def _write(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps([self._rows, self._rejected]))
            temporary.replace(path)
        except OSError:
            # Progress is a courtesy: it must never cost a unit (and its folder goes when the run ends).
            self._next = time.monotonic() + 30


def read_progress(output: str) -> Progress:
    """The workers' counts together; zero where there are none."""
    rows = rejected = 0
    folder = Path(absolute(join(output, FOLDER)))
    for path in folder.glob("*.json") if is_local(output) else ():
        try:
            done, bad = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        rows, rejected = rows + done, rejected + bad
    return Progress(rows, rejected)
