"""Errors whose message may have several lines."""

from collections.abc import Sequence
from typing import Self

from fiqa_core.errors import FiqaError
from fiqa_core.wording import visible


class LinesError(FiqaError, ValueError):
    """An error for people. `several_lines`: whether line breaks in the message are meant (each line is `visible`)."""

    @classmethod
    def of_lines(cls, lines: Sequence[str]) -> Self:
        """An error whose message has several lines."""
        error = cls("\n".join([visible(line) for line in lines]))
        error.several_lines = True
        return error
