"""numpy arrays of a pickle, of which each is the same twenty instructions as the one before, in one step."""

import re
import struct

from fiqa_core.shards.plain_pickle.stack import Stack
from fiqa_core.shards.plain_pickle.values import Array, Blob, DType, Name

GET = b"h"[0]
_KEPT = rb"(\x94|q.|r.{4}|)"
_HEAD = re.compile(
    rb"h(.)h(.)K\x00\x85" + _KEPT + rb"h(.)\x87" + _KEPT + rb"R" + _KEPT
    + rb"\(K\x01(?:M(..)|J(.{4}))(\x85|K\x01\x86)" + _KEPT + rb"h(.)\x89B(.{4})",
    re.DOTALL,
)  # fmt: skip
_TAIL = re.compile(_KEPT + rb"t" + _KEPT + rb"b", re.DOTALL)
_LONGEST = 80
_STEPS = 20
_U32 = struct.Struct("<I")
_NDARRAY = Name("numpy", "ndarray")
_RECONSTRUCT = frozenset(Name(module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray"))


class Arrays(Stack):
    """A stack on which a whole array can be put."""

    def _array(self) -> bool:
        """The array that begins with the instruction before; False, and nothing done, where it is not one."""
        before = self._data, self._base, self._at
        at = self._at - 1
        head = _HEAD.match(self._data, at, at + _LONGEST)
        if head is None or self._memo_apart:
            return False
        memo = self._memo
        names = [head[group][0] for group in (1, 2, 4, 11)]
        if max(names) >= len(memo):
            return False
        function, kind, letter, dtype = (memo[name] for name in names)
        if function not in _RECONSTRUCT or kind != _NDARRAY or letter != b"b" or not isinstance(dtype, DType):
            return False
        size = _U32.unpack(head[12])[0]
        blob = Blob(self._base + head.end(), size)
        if size <= self._kept or blob.at + size + 2 > self._end:
            return False
        self._go(head.end() + size)
        self._need(min(16, self._end - self.place))
        tail = _TAIL.match(self._data, self._at)
        kept = [head[3], head[5], head[6], head[10], *(tail.groups() if tail else ())]
        if tail is None or not _follow_on(kept, len(memo)):
            self._data, self._base, self._at = before
            return False
        count = int.from_bytes(head[7] or head[8], "little")
        array = Array()
        array.dtype, array.big, array.data = dtype.name, dtype.big, blob
        array.shape = (count,) if head[9] == b"\x85" else (count, 1)
        values = ((0,), (kind, (0,), letter), array, array.shape, blob, (1, array.shape, dtype, False, blob))
        memo += [value for value, mark in zip(values, kept, strict=True) if mark]
        self._stack.append(array)
        self._at = tail.end()
        self._left -= _STEPS
        return True


def _follow_on(marks: list[bytes], number: int) -> bool:
    """Whether values are kept under the numbers that come next."""
    for mark in marks:
        if mark:
            if mark != b"\x94" and int.from_bytes(mark[1:], "little") != number:
                return False
            number += 1
    return True
