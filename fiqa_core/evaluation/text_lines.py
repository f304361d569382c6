"""Text lists written by people: UTF-8 with or without a byte order mark, spaces or tabs, comments."""

import re
from collections.abc import Iterator
from typing import IO

from fiqa_core.evaluation.errors import EvaluationError

_BLOCK = 16 << 20
_LONGEST_LINE = 1 << 16
_MARK = b"\xef\xbb\xbf"


def blocks(url: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, about 16 MiB at a time, without a byte order mark.

    Raises:
        EvaluationError: a line too long for a list of names.
    """
    rest, first = b"", True
    while data := stream.read(_BLOCK):
        if first:
            data, first = data.removeprefix(_MARK), False
        head, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield head + newline
        if len(rest) > _LONGEST_LINE:
            raise EvaluationError(
                f"{url}: has a line of more than {_LONGEST_LINE:,} bytes, so it is not a list of names"
            )
    if rest.strip():
        yield rest


def tidy(url: str, block: bytes, before: int) -> bytes:
    """The same lines, fields one space apart; comments (`#` at the start of a line) become empty lines.

    Args:
        before: number of lines before the block.

    Raises:
        EvaluationError: a byte that is not UTF-8, with its line.
    """
    check_utf8(url, block, before)
    if re.search(rb"[\t\r]|  |(?m:^ | $)", block):
        block = re.sub(rb"(?m)^ | $", b"", re.sub(rb"[ \t\r]+", b" ", block))
    return re.sub(rb"(?m)^#.*$", b"", block) if b"#" in block else block


def check_utf8(url: str, text: bytes, before: int) -> None:
    """Refuse bytes that are not UTF-8.

    Raises:
        EvaluationError: with the line.
    """
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = before + 1 + text.count(b"\n", 0, error.start)
        raise EvaluationError(
            f"{url}, line {line}: byte 0x{text[error.start]:02x} is not UTF-8. Save the file as UTF-8."
        ) from None
