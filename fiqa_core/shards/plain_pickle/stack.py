"""The stack, the marks and the memo of the machine that a pickle is a program for."""

import struct
from collections.abc import Callable
from typing import IO, Any

from fiqa_core.shards.plain_pickle.source import Source
from fiqa_core.shards.plain_pickle.values import Blob, PickleError

# Longer bytes (images) are not read: where they are is enough. So a pickle of any size needs little memory.
KEPT_BYTES = 256
_AT_ONCE = 5000
_FORGOTTEN = object()
_U32 = struct.Struct("<I")
SHORT_BYTES, BYTES, _MEMOIZE, _PUT = b"CB\x94q"
ONE_BYTE, TWO_BYTES, FOUR_BYTES = b"KMJ"
_I32 = struct.Struct("<i")


class Stack(Source):
    """What instructions work on.

    Args:
        stream, at, size: as of `Source`. most: instructions that may be run.
        kept: bytes that are longer become a `Blob`.
        each: called with items of the first list, some thousand at a time, which are not kept then; what is left of
            them at the end is the value. Such a pickle cannot use bytes twice, for they are not kept either.
    """

    def __init__(
        self,
        stream: IO[bytes],
        at: int,
        size: int | None,
        most: int,
        kept: int,
        each: Callable[[list[Any]], None] | None,
    ) -> None:
        super().__init__(stream, at, size)
        self._left, self._kept, self._each = most, kept, each
        self._first: list[Any] | None = None
        self._stack: list[Any] = []
        self._frames: list[list[Any]] = []
        # Nearly all are numbered as they come: a list is a tenth of a dict of as many.
        self._memo: list[Any] = []
        self._memo_apart: dict[int, Any] = {}

    def begun(self) -> list[Any]:
        """Of a pickle that broke off: the items of its first list, as far as it came."""
        frames = [*self._frames, self._stack]
        for depth, frame in enumerate(frames):
            for place, value in enumerate(frame):
                if isinstance(value, list):
                    is_last = place == len(frame) - 1 and depth + 1 < len(frames)
                    return [*value, *frames[depth + 1]] if is_last else value
        return []

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

    def _short(self) -> bool:
        """Short bytes, kept or not, or as many in a row as there are: of these, lists of keys are made."""
        data, at, stack, memo = self._data, self._at, self._stack, self._memo
        most, forget = len(data) - KEPT_BYTES - 4, self._each is not None
        if self._memo_apart or self._kept < KEPT_BYTES - 1:
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
            if data[end] != SHORT_BYTES:
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
            if data[done] != BYTES:
                break
            at = done + 1
        if done < self._at:
            return False
        self._go(done)
        return True

    def _small(self) -> bool:
        """Small whole numbers, as many in a row as there are: of these, lists of labels are made."""
        data, at, stack = self._data, self._at - 1, self._stack
        begin, most = at, len(data) - 5
        while at < most:
            code = data[at]
            if code == TWO_BYTES:
                stack.append(data[at + 1] | data[at + 2] << 8)
                at += 3
            elif code == ONE_BYTE:
                stack.append(data[at + 1])
                at += 2
            elif code == FOUR_BYTES:
                stack.append(_I32.unpack_from(data, at + 1)[0])
                at += 5
            else:
                break
            self._left -= 1
        if at == begin:
            return False
        self._at = at
        return True
