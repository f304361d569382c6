"""How log lines and reports are shown: names come from other people's files, so control characters are escaped."""

import logging
from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from types import MappingProxyType
from typing import Any

from fiqa_core.wording import visible

# Loggers whose texts are ours, so that a line break in one of their values can only come from a name.
_OURS = frozenset(
    {
        *("fiqa_core", "pipelines", "transforms", "examples", "benchmarks", "__main__"),
        # The commands, by their modules.
        *("score_dataset", "embed_dataset", "align_dataset", "measure_baselines", "original_scores", "filter_dataset"),
        *("evaluate_quality", "calibrate_scores", "train_fiqa", "show_faces", "report_dataset"),
        *("atlas_dataset", "clean_dataset"),
        *("export_scores", "import_scores", "prepare_benchmark", "list_networks", "export_onnx", "doctor"),
    }
)


class Lines(str):
    """A value of a log message whose line breaks are intended."""

    __slots__ = ()


class VisibleFormatter(logging.Formatter):
    """Escapes control characters everywhere, and line breaks in the values of our own messages.

    `commands`: what the user calls the commands, by their modules; a command's lines begin with that.
    """

    def __init__(self, form: str, commands: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(form)
        self._commands = commands

    def format(self, record: logging.LogRecord) -> str:
        """The line; the record itself stays as it is (other handlers have it too)."""
        shown = logging.makeLogRecord(record.__dict__)
        ours = record.name.partition(".")[0] in _OURS
        shown.name = self._commands.get(record.name, record.name)
        if isinstance(record.args, dict):
            shown.args = {name: _shown(value, ours) for name, value in record.args.items()}
        elif record.args:
            shown.args = tuple(_shown(value, ours) for value in record.args)
        shown.msg = lines_visible(str(record.msg))
        return super().format(shown)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """The trace, line by line."""
        return lines_visible(super().formatException(ei))


def lines_visible(text: str) -> str:
    """A text of several lines, with control characters escaped in each."""
    return "\n".join([visible(line) for line in text.split("\n")])


def report(lines: Iterable[str]) -> None:
    """Print lines; each stays one line, whatever names are in it."""
    print("\n".join([visible(line) for line in lines]))


def _shown(value: Any, ours: bool) -> Any:
    if value is None or isinstance(value, Number):
        return value
    meant = isinstance(value, Lines) or getattr(value, "several_lines", False)
    return _Shown(value, visible if ours and not meant else lines_visible)


class _Shown:
    """A value of a message, whose text is made when the message is shown."""

    def __init__(self, value: Any, safe: Callable[[str], str]) -> None:
        self._value, self._safe = value, safe

    def __str__(self) -> str:
        return self._safe(str(self._value))

    def __repr__(self) -> str:
        return self._safe(repr(self._value))
