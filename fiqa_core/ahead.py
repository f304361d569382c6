"""Make the next items while the last ones are used."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
MOST_BYTES = 64 << 20  # that wait between two stages


def ahead(
    items: Iterable[T], depth: int, weigh: Callable[[T], int] | None = None, most: int = MOST_BYTES
) -> Generator[T, None, None]:
    """The same items, produced by a thread of their own that runs at most `depth` items ahead.

    Args:
        weigh: bytes of an item (None: they do not matter); no more items wait than have `most` together, or one.

    An exception of the producer is raised here, in its place; closing the generator stops the thread.
    """
    done = object()
    handed: deque[tuple[Any, BaseException | None, int]] = deque()
    changed = threading.Condition()
    stopped = False
    weight = 0

    def put(item: Any, error: BaseException | None, own: int) -> bool:
        nonlocal weight
        with changed:
            changed.wait_for(lambda: stopped or not handed or (len(handed) < depth and weight + own <= most))
            if not stopped:
                handed.append((item, error, own))
                weight += own
                changed.notify_all()
            return not stopped

    def produce() -> None:
        try:
            for item in items:
                if not put(item, None, 0 if weigh is None else weigh(item)):
                    return
                # The next item is made meanwhile: this one must not be held by its name.
                del item
            put(done, None, 0)
        except BaseException as error:
            put(done, error, 0)

    thread = threading.Thread(target=produce, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: bool(handed))
                item, error, own = handed.popleft()
                weight -= own
                changed.notify_all()
            if error is not None:
                raise error
            if item is done:
                return
            yield item
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        thread.join()
