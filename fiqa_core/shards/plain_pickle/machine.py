"""The stack machine that a pickle is a program for, with only the instructions of which plain values are made.

Source: `pickletools`, whose tables say what each instruction means.
"""

import struct
from collections.abc import Callable
from typing import IO, Any

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

# Longer bytes (images) are not read: where they are is enough. So a pickle of any size needs little memory.
_KEPT_BYTES = 256
_MOST_DIGITS = 400
_MOST_NAME = 1000
_MOST_STRING = 256 << 20  # with each byte as four characters, an image of 64 MiB
_CHUNK = 1 << 18
MOST_STEPS = 3_000_000  # of a verification set: some 20 for each numpy array, two for each image in bytes

_U16, _I32, _U32, _U64, _F64 = (struct.Struct(form) for form in ("<H", "<i", "<I", "<Q", ">d"))
_STOP, _SHORT_BYTES, _BYTES, _MEMOIZE, _PUT = b".CB\x94q"
_AT_ONCE = 5000
_FORGOTTEN = object()


class PlainPickle:
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
        kept: int = _KEPT_BYTES,
        each: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self._stream, self._most, self._kept, self._each = stream, most, kept, each
        self._first: list[Any] | None = None
        self._left = most
        self._end = stream.seek(0, 2) if size is None else at + size
        self._data, self._base, self._at = b"", at, 0
        self._stack: list[Any] = []
        self._frames: list[list[Any]] = []
        # Nearly all are numbered as they come: a list is a tenth of a dict of as many.
        self._memo: list[Any] = []
        self._memo_apart: dict[int, Any] = {}

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
            if code == _SHORT_BYTES and self._short():
                continue
            if code == _BYTES and self._images():
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

    def _short(self) -> bool:
        """Short bytes, kept or not, or as many in a row as there are: of these, lists of keys are made."""
        data, at, stack, memo = self._data, self._at, self._stack, self._memo
        most, forget = len(data) - _KEPT_BYTES - 4, self._each is not None
        if self._memo_apart or self._kept < _KEPT_BYTES - 1:
            return False
        begin = at
        while at < most:
            end = at + 1 + data[at]
            value = data[at + 1 : end]
            stack.append(value)
            self._left -= 1
            if data[end] == _MEMOIZE:
                memo.append(_FORGOTTEN if forget else value)
                end += 1
            at = end + 1
            if data[end] != _SHORT_BYTES:
                self._at = end
                return True
        if at == begin:
            return False
        self._at = at - 1
        return True

    def _images(self) -> bool:
        """Bytes that are not read, kept or not, or as many in a row as there are: of these, sets of images are made."""
        data, at, base, memo = self._data, self._at, self._base, self._memo
        done = at - 1  # the instruction that is next
        while at + 4 <= len(data) and not self._memo_apart:
            size = _U32.unpack_from(data, at)[0]
            stop = at + 4 + size
            if size <= self._kept or base + stop > self._end:
                break
            blob = Blob(base + at + 4, size)
            self._stack.append(blob)
            self._left -= 1
            done = stop
            if stop + 3 > len(data):
                break
            if data[stop] == _MEMOIZE:
                memo.append(blob)
                done += 1
            elif data[stop] == _PUT and data[stop + 1] == len(memo):
                memo.append(blob)
                done += 2
            if data[done] != _BYTES:
                break
            at = done + 1
        if done < self._at:
            return False
        self._go(done)
        return True

    def _go(self, at: int) -> None:
        """To a place of `_data`, or behind it."""
        self._at = at
        if at > len(self._data):
            self._base, self._at, self._data = self.place, 0, b""

    def begun(self) -> list[Any]:
        """Of a pickle that broke off: the items of its first list, as far as it came."""
        frames = [*self._frames, self._stack]
        for depth, frame in enumerate(frames):
            for place, value in enumerate(frame):
                if isinstance(value, list):
                    is_last = place == len(frame) - 1 and depth + 1 < len(frames)
                    return [*value, *frames[depth + 1]] if is_last else value
        return []

    @property
    def place(self) -> int:
        """The byte of the file that is next."""
        return self._base + self._at

    def _need(self, count: int) -> int:
        """Have `count` bytes at hand; the index of the first in `_data`."""
        if self._at + count > len(self._data):
            place = self.place
            if place + count > self._end:
                raise PickleError(f"the file ends at byte {self._end}, before the pickle does", place, True)
            self._stream.seek(place)
            self._data = self._stream.read(min(max(count, _CHUNK), self._end - place))
            self._base, self._at = place, 0
            if len(self._data) < count:
                raise PickleError(
                    f"the file ends at byte {place + len(self._data)}, before the pickle does", place, True
                )
        return self._at

    def _take(self, count: int) -> bytes:
        start = self._need(count)
        self._at = start + count
        return self._data[start : self._at]

    def _number(self, form: struct.Struct) -> Any:
        start = self._need(form.size)
        self._at = start + form.size
        return form.unpack_from(self._data, start)[0]

    def _line(self, most: int) -> bytes:
        """Up to the next line break, which is passed."""
        looked_at = 0
        while (stop := self._data.find(b"\n", self._at + looked_at)) < 0:
            looked_at = len(self._data) - self._at
            if looked_at > most:
                break
            self._need(min(max(_CHUNK, 2 * looked_at), max(self._end - self.place, looked_at + 1)))
        if stop < 0 or stop - self._at > most:
            raise PickleError(f"at byte {self.place} a line of more than {most} bytes begins", self.place)
        line = self._data[self._at : stop]
        self._at = stop + 1
        return line

    def _top(self) -> Any:
        if not self._stack:
            raise PickleError(f"at byte {self.place - 1} a value is missing", self.place - 1)
        return self._stack[-1]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._top()
        del self._stack[-1]
        return value

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

    def _unmarked(self) -> list[Any]:
        """The values since the last mark."""
        if not self._frames:
            raise PickleError(f"at byte {self.place - 1} a mark is missing", self.place - 1)
        items, self._stack = self._stack, self._frames.pop()
        return items

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise PickleError(f"at byte {self.place - 1} values are added to something that is not a list", self.place)
        target += items
        if self._each is not None and len(target) >= _AT_ONCE and target is self._first:
            self._each(target)
            target.clear()

    def _list(self, items: list[Any]) -> None:
        if self._first is None:
            self._first = items
        self._stack.append(items)

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise PickleError(f"at byte {self.place - 1} a value is missing", self.place - 1)
        items = tuple(self._stack[len(self._stack) - count :])
        self._stack[len(self._stack) - count :] = [items]

    def _mark(self) -> None:
        self._frames.append(self._stack)
        self._stack = []

    def _discard(self) -> None:
        if self._stack:
            del self._stack[-1]
        else:
            self._unmarked()

    def _whole(self, data: bytes) -> None:
        text = data.strip().removesuffix(b"L")
        if text in (b"00", b"01"):
            self._stack.append(text == b"01")
            return
        if len(text) > _MOST_DIGITS or not text.removeprefix(b"-").isdigit():
            raise PickleError(f"at byte {self.place} stands {text[:20]!r} where a whole number should be", self.place)
        self._stack.append(int(text))

    def _long(self, size: int) -> None:
        if size > _KEPT_BYTES:
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

    def _put(self, number: int) -> None:
        value = self._top()
        if self._each is not None and isinstance(value, bytes):
            value = _FORGOTTEN
        if number == len(self._memo):
            self._memo.append(value)
        elif number < len(self._memo):
            self._memo[number] = value
        else:
            self._memo_apart[number] = value

    def _get(self, number: int) -> None:
        value = self._memo[number] if number < len(self._memo) else self._memo_apart.get(number, _FORGOTTEN)
        if value is _FORGOTTEN:
            raise PickleError(f"at byte {self.place} a value is asked for that was not kept", self.place)
        self._stack.append(value)

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
        b"V": lambda m: m._stack.append(m._line(_CHUNK).decode("raw-unicode-escape", "replace")),
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
