"""Bounds the stored bytes of images that wait to be decoded."""

from collections import deque
from concurrent.futures import Future
from typing import Any

_MOST_BYTES = 256 << 20


class InFlight:
    """Counts the bytes of work that was handed to threads, oldest first."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._work: deque[tuple[Future[Any], int]] = deque()
        self.held = 0

    def make_room(self, size: int) -> None:
        """Wait until `size` bytes more are within the bound, or nothing else is under way."""
        while self._work and (self._work[0][0].done() or self.held + size > self._most):
            future, less = self._work.popleft()
            future.exception()  # waits; whoever takes the result meets the error
            self.held -= less

    def add(self, future: Future[Any], size: int) -> None:
        """Count work that was just handed on."""
        self._work.append((future, size))
        self.held += size
