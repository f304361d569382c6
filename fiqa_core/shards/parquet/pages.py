"""Guards Arrow's reading of Parquet pages: what a page would need in memory is checked before Arrow decodes it."""

from collections.abc import Callable
from typing import IO, NamedTuple

from fiqa_core.errors import FiqaError

_HEADER_BYTES = 64 << 10  # a page header may hold minimum and maximum of the page
_USUAL_HEADER = 512
BUDGET_BYTES = 128 << 20  # of values decoded at a time
_USUAL_PAGE = 256 << 20
_USUAL_RATIO = 32  # images are compressed already: a large page that shrank more was made to fill the memory
_DELTA_BYTE_ARRAY, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 7, 2, 8
_DICTIONARY_PAGE = 2
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_MOST_NESTED = 8


class PageRefusedError(FiqaError, ValueError):
    """A page claims to become far more bytes than it has."""


class SmallerBatches(Exception):  # noqa: N818  # a signal: the group is read again, with fewer rows at a time
    """The rows of a batch need too many bytes; read `rows` at a time."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"read {rows} rows at a time")
        self.rows = rows


class Page(NamedTuple):
    """A page's header: its own bytes, bytes stored and decoded, and whether one value may stand for many rows."""

    header: int
    stored: int
    decoded: int
    repeats: bool


class PageGuard:
    """The file that Arrow reads; it checks each page header before Arrow sees it.

    Arrow reads a column chunk from start to end, so a read that does not continue an earlier one begins a chunk.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._place = 0
        self._chunks: dict[int, int] = {}  # where the next read of a chunk begins -> where its next page begins
        self._watching = False
        self._rows = 1
        self._decoded = 0
        self.closed = False

    def watch(self, rows: int) -> None:
        """From now on a row group is read, `rows` rows at a time."""
        self._chunks.clear()
        self._watching, self._rows, self._decoded = True, rows, 0

    def next_batch(self) -> None:
        """A batch is complete; its bytes no longer count."""
        self._decoded = 0

    def seek(self, place: int, whence: int = 0) -> int:
        self._place = self._stream.seek(place, whence)
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        """Bytes from where the file was left.

        Raises:
            PageRefusedError: a page in them claims too much. SmallerBatches: as it says.
        """
        start = self._place
        self._stream.seek(start)
        data = self._stream.read(size)
        self._place = start + len(data)
        if self._watching and data:
            self._look_at(start, data)
        return data

    def _look_at(self, start: int, data: bytes) -> None:
        stop = start + len(data)
        page_at = self._chunks.pop(start, start)
        while start <= page_at < stop:
            # Parsed from the bytes at hand: a seek for each header would read the file's whole buffer each time.
            begin = page_at - start
            page = parse_page(data[begin : begin + _USUAL_HEADER]) or self._parse_long(page_at)
            if page is None:
                page_at = -1  # Arrow will report what is wrong there
                break
            self._weigh(page)
            page_at += page.header + page.stored
        self._chunks[stop] = page_at

    def _parse_long(self, at: int) -> Page | None:
        self._stream.seek(at)
        return parse_page(self._stream.read(_HEADER_BYTES))

    def _weigh(self, page: Page) -> None:
        if page.decoded > _USUAL_PAGE and page.decoded > _USUAL_RATIO * page.stored:
            raise PageRefusedError(f"a page of {page.stored} bytes claims to hold {page.decoded}")
        if page.repeats:
            if self._rows > 1 and self._rows * page.decoded > BUDGET_BYTES:
                raise SmallerBatches(max(1, BUDGET_BYTES // page.decoded))
            return
        self._decoded += page.decoded
        if self._rows > 1 and self._decoded > BUDGET_BYTES:
            raise SmallerBatches(1)


def parse_page(data: bytes) -> Page | None:
    """The page header at the start of `data`; None if there is none, or if it is longer than `data`."""
    reader = _Compact(data)
    found: dict[int, int] = {}
    try:
        reader.struct(found, ())
    except IndexError:
        return None
    kind, decoded, stored = found.get(1), found.get(2), found.get(3)
    if kind is None or decoded is None or stored is None or decoded < 0 or stored < 0:
        return None
    return Page(reader.at, stored, decoded, kind == _DICTIONARY_PAGE or found.get(100) == _DELTA_BYTE_ARRAY)


class _Compact:
    """Thrift's compact protocol, as far as a page header needs it. Other bytes raise IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, found: dict[int, int], path: tuple[int, ...]) -> None:
        """Read a struct: whole numbers of the header itself, and the encoding of a data page (as 100), into `found`."""
        if len(path) > _MOST_NESTED:
            raise IndexError
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            if 4 <= kind <= 6:
                value = self._number()
                if not path:
                    found[field] = value
                elif (path == (5,) and field == 2) or (path == (8,) and field == 4):
                    found[100] = value
            else:
                self._value(kind, found, (*path, field))

    def _value(self, kind: int, found: dict[int, int], path: tuple[int, ...]) -> None:
        skip: dict[int, Callable[[], object]] = {
            _BYTE: lambda: self._pass(1),
            4: self._varint,
            5: self._varint,
            6: self._varint,
            _DOUBLE: lambda: self._pass(8),
            _BINARY: lambda: self._pass(self._varint()),
            _STRUCT: lambda: self.struct(found, path),
        }
        if kind in (_TRUE, _FALSE):
            return
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            if count > len(self._data):
                raise IndexError
            for _ in range(count):
                self._value(head & 15, found, (*path, 0))
            return
        if kind not in skip:
            raise IndexError
        skip[kind]()

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise IndexError

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
