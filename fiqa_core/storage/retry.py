"""Repeat requests after temporary faults: limited in number and time, with growing random waits, each one logged.

This is the only layer that retries. The clients' own retries are switched off (`google.py`, `amazon.py`), because
layers multiply: a store that is down would block every unit for minutes.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fiqa_core.storage.errors import GaveUpError, causes, http_status, kinds

T = TypeVar("T")
_log = logging.getLogger(__name__)

_STATUS = {408, 429, 500, 502, 503, 504}
_CODES = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException"}

# What a broken connection raises (`errors.kinds`).
_BROKEN = {
    "aiohttp.ClientError",
    "botocore.ConnectionError",
    "botocore.HTTPClientError",
    "botocore.ResponseParserError",
    "gcsfs.ChecksumError",
    "httpx.TransportError",
    "requests.ChunkedEncodingError",
    "requests.ConnectionError",
    "requests.Timeout",
    "urllib3.IncompleteRead",
}


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of one request to a store.

    Attributes:
        attempts: tries in all.
        first_wait_s, longest_wait_s: the wait doubles from the first to the longest; up to half of it is taken off at
            random, so that many workers do not return at the same moment.
        total_s: no try begins later than this after the first.
        stall_s: a connection that is silent for so long counts as broken.
        request_s: the longest time for one try.
    """

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 16.0
    total_s: float = 120.0
    stall_s: float = 20.0
    request_s: float = 300.0


_policy = RetryPolicy()


def policy() -> RetryPolicy:
    """The limits in force in this process."""
    return _policy


def set_policy(new: RetryPolicy) -> None:
    """Change the limits in this process, for stores that are opened from now on."""
    global _policy
    _policy = new


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: overload (408, 429, 5xx), broken or silent connections."""
    for cause in causes(error):
        status, code = http_status(cause)
        if status is not None:
            return status in _STATUS or code in _CODES
    permanent = FileNotFoundError | PermissionError | FileExistsError | IsADirectoryError | NotADirectoryError
    if isinstance(error, permanent):
        return False
    return any(_is_broken_connection(cause) for cause in causes(error))


async def retrying(call: Callable[[], Awaitable[T]], what: str) -> T:
    """The result of `call`, which is repeated while its error is transient.

    Args:
        call: makes one request; `what`: says which, for the log.

    Raises:
        GaveUpError: the fault lasted. Any other error of `call` is raised at once, unchanged.
    """
    limits = policy()
    started = time.monotonic()
    for attempt in range(1, limits.attempts + 1):
        try:
            return await asyncio.wait_for(call(), limits.request_s)
        except Exception as error:
            wait = _wait(limits, error, attempt, time.monotonic() - started, what)
        await asyncio.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def retrying_here(call: Callable[[], T], what: str) -> T:
    """`retrying` for a plain call; the call itself must notice a stall."""
    limits = policy()
    started = time.monotonic()
    for attempt in range(1, limits.attempts + 1):
        try:
            return call()
        except Exception as error:
            wait = _wait(limits, error, attempt, time.monotonic() - started, what)
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _wait(limits: RetryPolicy, error: Exception, attempt: int, elapsed: float, what: str) -> float:
    """Seconds to wait before the next attempt; raises if there is none."""
    if isinstance(error, GaveUpError) or not is_transient(error):
        raise error
    found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    longest: float = min(limits.longest_wait_s, limits.first_wait_s * 2.0 ** (attempt - 1))
    wait = longest * random.uniform(0.5, 1.0)
    if attempt == limits.attempts or elapsed + wait > limits.total_s:
        raise GaveUpError(
            f"gave up after {attempt} attempts in {elapsed:.0f} s; the last: {found}. "
            "The store is overloaded or cannot be reached: check the network, then run again with --resume."
        ) from error
    _log.warning("%s: attempt %d of %d: %s; again in %.1f s", what, attempt, limits.attempts, found, wait)
    return wait


def _is_broken_connection(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | asyncio.IncompleteReadError):
        return True
    return bool(kinds(error) & _BROKEN)
