"""What the value of a setting may be: one check each, shared by YAML, the command line and Python.

A check takes a value as YAML or an option gives it. It returns the value in its own type, or raises ValueError with
what was expected. Numbers may be texts: options are, and YAML 1.1 reads 1e-3 as one.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Check = Callable[[Any], Any]
_MOST = 2**53  # whole numbers up to here survive float64


class Whole:
    """A whole number of at least `least` and at most `most`."""

    def __init__(self, least: int, most: int = _MOST) -> None:
        self._least, self._most = least, most
        self._expected = f"a whole number from {least} to {most:,}"
        if most == _MOST:
            self._expected = f"a whole number of at least {least}"

    def __call__(self, value: Any) -> int:
        found = _finite(value, self._expected)
        if found > self._most:
            raise ValueError(f"a whole number from {self._least} to {self._most:,}")
        if found != int(found) or found < self._least:
            raise ValueError(self._expected)
        return int(found)


class Number:
    """A finite number with limits: `least` and `most` are allowed values, `above` and `below` are not."""

    def __init__(
        self,
        expected: str = "a finite number",
        *,
        least: float = -math.inf,
        most: float = math.inf,
        above: float = -math.inf,
        below: float = math.inf,
    ) -> None:
        self._expected = expected
        self._limits = least, most, above, below

    def __call__(self, value: Any) -> float:
        found = _finite(value, self._expected)
        least, most, above, below = self._limits
        if not (least <= found <= most and above < found < below):
            raise ValueError(self._expected)
        return found


count = Whole(1)
number = Number()
at_least_zero = Number("a number of at least 0", least=0)
above_zero = Number("a number of more than 0", above=0)
fraction = Number("a share of at least 0 and less than 1", least=0, below=1)
share = Number("a share from 0 to 1", least=0, most=1)
similarity = Number("a similarity from -1 to 1", least=-1, most=1)
weight = Number("a weight from 0 to 1", least=0, most=1)


class Choice:
    """One of some words. YAML 1.1 reads a bare `off` as false, which counts as the word."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, value: Any) -> str:
        word = "off" if value is False else value
        if word not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")
        return str(word)


class Numbers:
    """A fixed number of numbers, from a list or a text with commas; `descending`: each less than the one before."""

    def __init__(self, size: int, check: Check, descending: bool = False) -> None:
        self._size, self._check, self._descending = size, check, descending

    def __call__(self, value: Any) -> tuple[float, ...]:
        items = value.split(",") if isinstance(value, str) else value
        order = ", each less than the one before" if self._descending else ""
        expected = f"{self._size} numbers{order}"
        if not isinstance(items, list | tuple) or len(items) != self._size:
            raise ValueError(expected)
        found = tuple(self._check(item) for item in items)
        if self._descending and any(a <= b for a, b in pairwise(found)):
            raise ValueError(expected)
        return found


def optional(check: Check) -> Check:
    """The value that `check` gives, or None (`null`)."""

    def checked(value: Any) -> Any:
        return None if value is None else check(value)

    # --help lists the words of a choice, optional or not.
    checked.words = getattr(check, "words", ())  # type: ignore[attr-defined]
    return checked


def switch(value: Any) -> bool:
    """`true` or `false`; on the command line also `on` and `off`."""
    known = {"true": True, "on": True, "false": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError("true or false")


def text(value: Any) -> str:
    """Any text, the empty one too."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def name(value: Any) -> str:
    """The name of a file, folder or device: not the empty text that an unset shell variable leaves."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a name")
    return value


def names(value: Any) -> tuple[str, ...]:
    """One name, or a list of them."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise ValueError("a name or a list of names")
    try:
        return tuple(name(item) for item in items)
    except ValueError:
        raise ValueError("a name or a list of names") from None


def _finite(value: Any, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not math.isfinite(found):
        raise ValueError(expected)
    return found
