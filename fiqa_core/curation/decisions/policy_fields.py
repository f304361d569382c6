"""What the settings of a policy may be: one check each, shared by the YAML file, the command line and the docs."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


class PolicyError(ValueError):
    """A policy cannot be used as given; the message says where, what was found and what was expected."""


Check = Callable[[Any], Any]


def setting(default: Any, flag: str, check: Check, text: str, argument: str = "N") -> Any:
    """A field of a policy's section.

    Args:
        default: value where nothing is said. flag: its option on the command line, "" for none.
        check: gives the value in its own type, or raises ValueError with what was expected.
        text: what it does, in one sentence. argument: how the value is shown in the command's help.
    """
    return field(default=default, metadata={"flag": flag, "check": check, "text": text, "argument": argument})


def optional(check: Check) -> Check:
    """The value that `check` gives, or None (`null`)."""

    def checked(value: Any) -> Any:
        return None if value is None else check(value)

    return checked


def count(value: Any) -> int:
    """A whole number of at least 1."""
    number = _number(value, "a whole number of at least 1")
    if number != int(number) or number < 1 or number > 2**53:
        raise ValueError("a whole number of at least 1")
    return int(number)


def number(value: Any) -> float:
    """A finite number."""
    return _number(value, "a finite number")


def at_least_zero(value: Any) -> float:
    """A finite number of at least 0."""
    found = _number(value, "a number of at least 0")
    if found < 0:
        raise ValueError("a number of at least 0")
    return found


def fraction(value: Any) -> float:
    """A share of at least 0 and less than 1."""
    return _between(value, 0, 1, "a share of at least 0 and less than 1", open_end=True)


def similarity(value: Any) -> float:
    """A similarity in [-1, 1]; 1 = identical."""
    return _between(value, -1, 1, "a similarity from -1 to 1")


def weight(value: Any) -> float:
    """A weight in [0, 1]."""
    return _between(value, 0, 1, "a weight from 0 to 1")


def switch(value: Any) -> bool:
    """`true` or `false`; on the command line also `on` and `off`."""
    known = {"true": True, "on": True, "false": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError("true or false")


@dataclass(frozen=True)
class Recognised:
    """When the embeddings place a face surely in its own identity (docs/curation.md).

    Attributes:
        cosine: least mean cosine to the other images of its identity. margin: how much nearer, at least, the centre of
            its own identity is than that of any other, as a difference of cosines.
    """

    cosine: float = 0.5
    margin: float = 0.15


def recognised(value: Any) -> Recognised | None:
    """`true` (the default limits), `false`, or {cosine, margin}; on the command line COSINE,MARGIN."""
    expected = "true, false, or a cosine and a margin, {cosine: 0.5, margin: 0.15} (as an option: 0.5,0.15)"
    if isinstance(value, str) and "," in value:
        value = dict(zip(("cosine", "margin"), value.split(","), strict=False)) if value.count(",") == 1 else value
    if isinstance(value, dict):
        if not value.keys() <= {"cosine", "margin"}:
            raise ValueError(expected)
        limits = {name: similarity(limit) for name, limit in value.items()}
        if limits.get("margin", 0.0) < 0:
            raise ValueError("a margin from 0 to 1")
        return Recognised(**limits)
    try:
        return Recognised() if value is not None and switch(value) else None
    except ValueError:
        raise ValueError(expected) from None


class Choice:
    """One of some words. YAML 1.1 reads a bare `off` as false, which is taken for the word."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, value: Any) -> str:
        word = "off" if value is False else value
        if word not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")
        return str(word)


class Numbers:
    """So many numbers, from a list or a text with commas; `descending`: each less than the one before."""

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


def from_text(check: Check) -> Callable[[str], Any]:
    """The check as argparse calls it: on the text of an option."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {error}, found {text!r}") from None

    return convert


def _between(value: Any, low: float, high: float, expected: str, open_end: bool = False) -> float:
    found = _number(value, expected)
    if not low <= found <= high or (open_end and found == high):
        raise ValueError(expected)
    return found


def _number(value: Any, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not math.isfinite(found):
        raise ValueError(expected)
    return found
