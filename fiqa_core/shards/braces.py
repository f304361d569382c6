"""Braces in names of shards, as Bash and webdataset expand them: `train-{000000..000099}.tar`, `{train,test}.tar`."""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from string import ascii_letters

from fiqa_core.errors import FiqaError

MOST_NAMES = 1_000_000
_NUMBERS = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,18}))?")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d{1,18}))?")


class BraceError(FiqaError, ValueError):
    """A pattern stands for too many names."""


def expand_braces(pattern: str) -> Iterator[str]:
    """The names that a pattern stands for, in its order; without such braces, the text itself.

    `{a,b}`: each of the texts (which may have braces too). `{0..9}`, `{000..120..10}`: numbers, with leading zeros if
    an end has them. `{a..e}`: letters. Other braces are ordinary characters.

    Raises:
        BraceError: more than a million names.
    """
    parts = _parts(pattern)
    count = prod(len(part) for part in parts)
    if count > MOST_NAMES:
        raise BraceError(f"{pattern}: stands for {count:,} names; {MOST_NAMES:,} are the most. Check its braces.")
    return map("".join, product(*parts))


def _parts(pattern: str) -> list[Sequence[str]]:
    """Consecutive parts of the pattern, each as the texts that it stands for."""
    parts: list[Sequence[str]] = []
    at = literal = 0
    while (begin := pattern.find("{", at)) >= 0:
        end = _closing(pattern, begin)
        texts = _choices(pattern[begin + 1 : end]) if end is not None else None
        if end is None or texts is None:
            at = begin + 1
            continue
        parts += [(pattern[literal:begin],), texts]
        at = literal = end + 1
    return [*parts, (pattern[literal:],)]


def _closing(pattern: str, begin: int) -> int | None:
    depth = 0
    for place in range(begin, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[place], 0)
        if depth == 0:
            return place
    return None


def _choices(inside: str) -> Sequence[str] | None:
    """What the text between two braces stands for; None if it is ordinary text."""
    if numbers := _NUMBERS.fullmatch(inside):
        return _numbers(numbers[1], numbers[2], int(numbers[3] or 1))
    if letters := _LETTERS.fullmatch(inside):
        places = _range(ascii_letters.index(letters[1]), ascii_letters.index(letters[2]), int(letters[3] or 1))
        return [ascii_letters[place] for place in places]
    texts = _split(inside)
    if len(texts) < 2:
        return None
    return [name for text in texts for name in expand_braces(text)]


def _numbers(first: str, last: str, step: int) -> Sequence[str]:
    padded = any(re.match(r"-?0\d", text) for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    places = _range(int(first), int(last), step)
    if len(places) > MOST_NAMES:
        raise BraceError(
            f"{{{first}..{last}}}: stands for {len(places):,} names; {MOST_NAMES:,} are the most. Check its ends."
        )
    return [f"{place:0{width}d}" for place in places]


def _range(first: int, last: int, step: int) -> range:
    step = abs(step) or 1
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)


def _split(inside: str) -> list[str]:
    """The text cut at its commas, except those within further braces."""
    texts, depth, begin = [], 0, 0
    for place, character in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            texts.append(inside[begin:place])
            begin = place + 1
    return [*texts, inside[begin:]]
