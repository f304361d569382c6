"""Lines of a list and rows of a CSV file, each with the bytes that it takes; a line of any length costs little."""

import csv
from collections.abc import Iterator
from typing import IO, NamedTuple

MOST_LINE_BYTES = 64 << 10
_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """The cells of a row (of a plain list: one, the line). `cells` is empty for a line that is too long; `end`: the
    byte behind it."""

    cells: list[str]
    at: int
    end: int


def is_other_encoding(beginning: bytes) -> bool:
    """Whether a text begins as UTF-16 does."""
    return beginning.startswith(_OTHER_MARKS) or b"\0" in beginning[:2]


def rows(stream: IO[bytes], start: int, stop: int | None, delimiter: str) -> Iterator[Row]:
    """The rows between two bytes (None: the end of the file), without empty ones.

    Args:
        delimiter: between the cells; "": a line is one cell. Bytes that are not UTF-8 are surrogates.
    """
    lines = _Lines(stream, start, stop)
    if not delimiter:
        for line in lines:
            if line is None or line.strip():
                yield Row([] if line is None else [line.rstrip("\r\n")], lines.at, lines.end)
        return
    while True:
        begin = lines.end
        line = next(iter(lines), None)
        if line is None and lines.end == begin:
            return
        cells = [] if line is None else _cells(line, lines, delimiter)
        if line is None or any(cell.strip() for cell in cells):
            yield Row(cells, begin, lines.end)


def _cells(line: str, lines: "_Lines", delimiter: str) -> list[str]:
    """The cells of the row that begins with a line. If quotes do not end, the row ends with the line: one unbalanced
    quote must not swallow the rows behind it."""
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter)
    end = lines.end
    try:
        return next(csv.reader(lines.from_line(line), delimiter=delimiter, strict=True), [])
    except csv.Error:
        lines.go_to(end)
        return next(csv.reader([line], delimiter=delimiter), [])


class _Lines:
    """An iterator of lines (None for one that is too long), which knows where the last one lies."""

    def __init__(self, stream: IO[bytes], start: int, stop: int | None) -> None:
        self._stream, self._stop = stream, stop
        self.go_to(start)

    def go_to(self, place: int) -> None:
        """Read on from this byte."""
        self._stream.seek(place)
        self.at = self.end = place

    def __iter__(self) -> Iterator[str | None]:
        while self._stop is None or self.end < self._stop:
            line = self._stream.readline(MOST_LINE_BYTES)
            if not line:
                return
            self.at, self.end = self.end, self.end + len(line)
            if len(line) < MOST_LINE_BYTES or line.endswith(b"\n"):
                text = (line.removeprefix(_MARK) if self.at == 0 else line).decode("utf-8", "surrogateescape")
                yield text.replace("\0", "\ufffd")
                continue
            while (rest := self._stream.readline(MOST_LINE_BYTES)) and not rest.endswith(b"\n"):
                self.end += len(rest)
            self.end += len(rest)
            yield None

    def from_line(self, line: str) -> Iterator[str]:
        """The line, and those behind it, of a row that may go on over them; it ends where that is too long."""
        begin = self.at
        yield line
        for more in self:
            if more is None or self.end - begin > MOST_LINE_BYTES:
                return
            yield more
