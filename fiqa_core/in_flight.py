"""Bounds the stored bytes of images that wait to be decoded."""

from collections import deque
from concurrent.futures import Future
from typing import Any

_MOST_BYTES = 256 << 20


class InFlight:
    """Counts the bytes of work that was given to threads, oldest first."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._work: deque[tuple[Future[Any], int]] = deque()
        self.held = 0

    def make_room(self, size: int) -> None:
        """Wait until `size` more bytes fit the bound, or no other work is left."""
        while self._work and (self._work[0][0].done() or self.held + size > self._most):
            future, less = self._work.popleft()
            future.exception()  # waits; an error is raised where the result is taken
            self.held -= less

    def add(self, future: Future[Any], size: int) -> None:
        """Count work that was just given to a thread."""
        self._work.append((future, size))
        self.held += size
