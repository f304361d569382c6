"""Work that threads do a bounded way ahead: bounded in number, and in weight (such as stored bytes)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

# Small files at once: enough to hide 20-50 ms a request behind a network that scores thousands a second.
WORKERS = 32
MOST_BYTES = 64 << 20


class InFlight(Generic[T]):
    """Work that was handed to threads, oldest first. One piece is always let in, however heavy it is.

    Attributes:
        held: weight of what is under way, and of what was taken and not yet released.
    """

    def __init__(self, most: int = 256 << 20, number: int | None = None) -> None:
        """`most`: weight together. `number`: pieces, None for any."""
        self._most, self._number = most, number
        self._work: deque[tuple[Future[T], int]] = deque()
        self.held = 0

    def __len__(self) -> int:
        """Pieces under way."""
        return len(self._work)

    def is_full(self, weight: int = 0) -> bool:
        """Whether there is no room for one more piece of that weight."""
        by_number = self._number is not None and len(self._work) >= self._number
        return bool(self._work) and (by_number or self.held + weight > self._most)

    def add(self, future: Future[T], weight: int = 0) -> None:
        """Count work that was just handed on."""
        self._work.append((future, weight))
        self.held += weight

    def take(self) -> tuple[Future[T], int]:
        """The oldest piece and its weight, which is held until `release`."""
        return self._work.popleft()

    def release(self, weight: int) -> None:
        """The result of a piece is used up."""
        self.held -= weight

    def make_room(self, weight: int) -> None:
        """Wait until there is room; results are left to whoever has the futures."""
        while self._work and (self._work[0][0].done() or self.is_full(weight)):
            future, less = self.take()
            future.exception()  # waits; whoever takes the result meets the error
            self.release(less)

    def cancel(self) -> None:
        """Drop what no thread has begun."""
        for future, _ in self._work:
            future.cancel()


def in_flight(
    items: Iterable[S],
    work: Callable[[S], T],
    workers: int = WORKERS,
    weigh: Callable[[S], int] = lambda _: 0,
    most: int = MOST_BYTES,
    number: int | None = None,
    name: str = "fetch",
    initializer: Callable[[], None] | None = None,
) -> Iterator[T]:
    """`work` of each item, in order, done by threads a bounded way ahead.

    Args:
        workers: threads, each of which calls `initializer` first. name: of the threads.
        weigh: weight of an item; no more are under way than weigh `most` together (one always is).
        number: items under way at most; None: twice as many as threads.
    """
    waiting: InFlight[T] = InFlight(most, 2 * workers if number is None else number)
    with ThreadPoolExecutor(workers, name, initializer) as pool:
        try:
            for item in items:
                weight = weigh(item)
                while waiting.is_full(weight):
                    future, less = waiting.take()
                    yield future.result()
                    waiting.release(less)
                waiting.add(pool.submit(work, item), weight)
            while len(waiting):
                yield waiting.take()[0].result()
        finally:
            waiting.cancel()
