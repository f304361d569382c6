"""The stack machine that a pickle is a program for, with only the instructions of which plain values are made.

Source: `pickletools`, whose tables say what each instruction means.
"""

import struct
from collections.abc import Callable
from typing import IO, Any

from fiqa_core.shards.plain_pickle.arrays import GET, Arrays
from fiqa_core.shards.plain_pickle.source import CHUNK
from fiqa_core.shards.plain_pickle.stack import BYTES, FOUR_BYTES, KEPT_BYTES, SHORT_BYTES, TWO_BYTES
from fiqa_core.shards.plain_pickle.values import (
    Blob,
    ForbiddenError,
    Name,
    PickleError,
    called,
    decoded,
    forbidden,
    is_known,
    set_state,
)

_MOST_DIGITS = 400
_MOST_NAME = 1000
_MOST_STRING = 256 << 20  # with each byte as four characters, an image of 64 MiB
MOST_STEPS = 3_000_000  # of a verification set: some 20 for each numpy array, two for each image in bytes

_U16, _I32, _U32, _U64, _F64 = (struct.Struct(form) for form in ("<H", "<i", "<I", "<Q", ">d"))
_STOP = b"."[0]
_WHOLE_NUMBERS = (TWO_BYTES, FOUR_BYTES)


class PlainPickle(Arrays):
    """Reads one pickle.

    Args:
        stream: seekable. at, size: where in it the pickle lies (size None: up to the end).
        most: instructions, so that a hostile file cannot fill the memory with values. Of each, at most 256 bytes and
            an object are held.
        kept: bytes that are longer become a `Blob`.
        each: called with items of the first list, some thousand at a time, which are not kept then; what is left of
            them at the end is the value. Such a pickle cannot use bytes twice, for they are not kept either.
    """

    def __init__(
        self,
        stream: IO[bytes],
        at: int = 0,
        size: int | None = None,
        most: int = MOST_STEPS,
        kept: int = KEPT_BYTES,
        each: Callable[[list[Any]], None] | None = None,
    ) -> None:
        super().__init__(stream, at, size, most, kept, each)
        self._most = most

    def load(self) -> Any:
        """The value.

        Raises:
            PickleError: it is damaged, ends too early, or takes too many steps. ForbiddenError: it is not plain.
        """
        while self._left > 0:
            self._left -= 1
            if self._at >= len(self._data):
                self._need(1)
            code = self._data[self._at]
            self._at += 1
            if code == SHORT_BYTES and self._short():
                continue
            if code == BYTES and self._images():
                continue
            if code in _WHOLE_NUMBERS and self._small():
                continue
            if code == GET and self._array():
                continue
            if code == _STOP:
                return self._top()
            step = _STEPS.get(code)
            if step is None:
                place = self.place - 1
                raise ForbiddenError(
                    f"at byte {place} stands the instruction {bytes([code])!r}, which plain values do not need", place
                )
            step(self)
        raise PickleError(f"it takes more than {self._most} steps; plain values of this kind need fewer", self.place)

    def _bytes(self, size: int, text: bool = False) -> None:
        if size > self._kept:
            at = self.place
            if at + size > self._end:
                raise PickleError(f"at byte {at} it states {size} bytes, but {self._end - at} are left", at, True)
            self._stack.append(Blob(at, size))
            self._go(self._at + size)
            return
        data = self._take(size)
        self._stack.append(data.decode("utf-8", "backslashreplace") if text else data)

    def _whole(self, data: bytes) -> None:
        text = data.strip().removesuffix(b"L")
        if text in (b"00", b"01"):
            self._stack.append(text == b"01")
            return
        if len(text) > _MOST_DIGITS or not text.removeprefix(b"-").isdigit():
            raise PickleError(f"at byte {self.place} stands {text[:20]!r} where a whole number should be", self.place)
        self._stack.append(int(text))

    def _long(self, size: int) -> None:
        if size > KEPT_BYTES:
            raise PickleError(f"at byte {self.place} stands a number of {size} bytes", self.place)
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _quoted(self) -> None:
        """A string of protocol 0: it stands in quotation marks, with backslashes."""
        place = self.place
        line = self._line(_MOST_STRING)
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
            raise PickleError(f"at byte {place} stands a string without quotation marks", place)
        inner = line[1:-1]
        blob = Blob(place + 1, len(inner), "escape")
        self._stack.append(blob if len(inner) > self._kept else decoded(inner, "escape", place))

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str | bytes) or not isinstance(name, str | bytes):
            raise ForbiddenError(f"at byte {self.place} stands a name that is not a text", self.place)
        found = Name(_text(module), _text(name))
        if not is_known(found):
            raise forbidden(found, self.place)
        self._stack.append(found)

    def _stacked_name(self) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _reduce(self) -> None:
        arguments = self._pop()
        self._stack.append(called(self._pop(), arguments, self.place - 1))

    def _build(self) -> None:
        state = self._pop()
        set_state(self._top(), state, self.place - 1)

    def _memo_number(self) -> int:
        line = self._line(_MOST_NAME)
        if not line.isdigit() or len(line) > 20:
            raise PickleError(f"at byte {self.place} stands {line[:20]!r} where a number should be", self.place)
        return int(line)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _steps() -> dict[int, Callable[[PlainPickle], Any]]:
    named: dict[bytes, Callable[[PlainPickle], Any]] = {
        b"\x80": lambda m: m._take(1),
        b"\x95": lambda m: m._take(8),
        b"(": PlainPickle._mark,
        b"0": PlainPickle._discard,
        b"1": lambda m: m._unmarked(),
        b"2": lambda m: m._stack.append(m._top()),
        b"N": lambda m: m._stack.append(None),
        b"\x88": lambda m: m._stack.append(True),
        b"\x89": lambda m: m._stack.append(False),
        b"I": lambda m: m._whole(m._line(_MOST_NAME)),
        b"L": lambda m: m._whole(m._line(_MOST_NAME)),
        b"J": lambda m: m._stack.append(m._number(_I32)),
        b"K": lambda m: m._stack.append(m._take(1)[0]),
        b"M": lambda m: m._stack.append(m._number(_U16)),
        b"\x8a": lambda m: m._long(m._take(1)[0]),
        b"\x8b": lambda m: m._long(m._number(_U32)),
        b"G": lambda m: m._stack.append(m._number(_F64)),
        b"C": lambda m: m._bytes(m._take(1)[0]),
        b"B": lambda m: m._bytes(m._number(_U32)),
        b"\x8e": lambda m: m._bytes(m._number(_U64)),
        b"\x96": lambda m: m._bytes(m._number(_U64)),
        b"U": lambda m: m._bytes(m._take(1)[0]),
        b"T": lambda m: m._bytes(m._number(_U32)),
        b"S": PlainPickle._quoted,
        b"\x8c": lambda m: m._bytes(m._take(1)[0], True),
        b"X": lambda m: m._bytes(m._number(_U32), True),
        b"\x8d": lambda m: m._bytes(m._number(_U64), True),
        b"V": lambda m: m._stack.append(m._line(CHUNK).decode("raw-unicode-escape", "replace")),
        b"]": lambda m: m._list([]),
        b"l": lambda m: m._list(m._unmarked()),
        b"a": lambda m: m._append([m._pop()]),
        b"e": lambda m: m._append(m._unmarked()),
        b")": lambda m: m._stack.append(()),
        b"t": lambda m: m._push(tuple(m._unmarked())),
        b"\x85": lambda m: m._tuple(1),
        b"\x86": lambda m: m._tuple(2),
        b"\x87": lambda m: m._tuple(3),
        b"c": lambda m: m._name(m._line(_MOST_NAME), m._line(_MOST_NAME)),
        b"\x93": PlainPickle._stacked_name,
        b"R": PlainPickle._reduce,
        b"b": PlainPickle._build,
        b"p": lambda m: m._put(m._memo_number()),
        b"q": lambda m: m._put(m._take(1)[0]),
        b"r": lambda m: m._put(m._number(_U32)),
        b"\x94": lambda m: m._put(len(m._memo) + len(m._memo_apart)),
        b"g": lambda m: m._get(m._memo_number()),
        b"h": lambda m: m._get(m._take(1)[0]),
        b"j": lambda m: m._get(m._number(_U32)),
    }
    return {code[0]: step for code, step in named.items()}


_STEPS = _steps()
