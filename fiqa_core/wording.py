"""Texts in messages for people: numbers of things, lines of errors, and names from untrusted files."""

import re

# Characters that a terminal obeys, that a program may take for the end of a line, or that change the reading direction.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 unit`, `0 units`, `1,200 units`; `plural` where it is not the noun with an s (`1 row is`, `2 rows are`)."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def one_line(error: BaseException, most: int = 300) -> str:
    """The message of an error as one line of at most so many characters; its class where it has none."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of an error's message, cut to so many characters; its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def visible(text: str) -> str:
    """Text as one line that is safe to show: control characters, line breaks and stray bytes as Python escapes them."""
    return _UNSEEN.sub(_escaped, text) if not text.isascii() or not text.isprintable() else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()
