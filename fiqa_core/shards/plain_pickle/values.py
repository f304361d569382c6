"""What a plain pickle can hold, and the stand-ins for the few names of numpy that one may use."""

import codecs
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np

from fiqa_core.errors import FiqaError

_PARTS = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMBERS = (*(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "b1", "f4", "f8")


class PickleError(FiqaError, ValueError):
    """The pickle cannot be read on. `place`: the byte. `truncated`: the file ends too early."""

    def __init__(self, message: str, place: int, truncated: bool = False) -> None:
        super().__init__(message)
        self.place, self.truncated = place, truncated


class ForbiddenError(PickleError):
    """The pickle asks for something that plain values do not need, such as calling a function."""


class Blob(NamedTuple):
    """Bytes of the file that were not read: `size` of them from byte `at` on.

    `coding` says how they stand there: "" as they are, "escape" as text with backslashes (protocol 0), "latin-1" as
    UTF-8 text of which each character is a byte (protocol 2 by Python 3).
    """

    at: int
    size: int
    coding: str = ""


class Name(NamedTuple):
    """A function or class that the pickle names. It is never looked up."""

    module: str
    name: str

    @property
    def shown(self) -> str:
        """As Python writes it."""
        return f"{self.module}.{self.name}"[:200]


class Array:
    """A numpy array: `dtype` as numpy names it ("u1"), `big` as of `DType`, `shape`, and its bytes, or their place."""

    __slots__ = ("big", "data", "dtype", "shape")

    def __init__(self) -> None:
        self.dtype, self.big = "", False
        self.shape: tuple[int, ...] = ()
        self.data: bytes | Blob = b""


class DType:
    """A numpy dtype: its short name ("u1"), and whether its numbers begin with their highest byte."""

    __slots__ = ("big", "name")

    def __init__(self, name: str) -> None:
        self.name, self.big = name, False


def load_blob(stream: IO[bytes], blob: Blob) -> bytes:
    """The bytes that a `Blob` stands for.

    Raises:
        PickleError: the file ends before, or the text in it is not what its coding says.
    """
    stream.seek(blob.at)
    data = stream.read(blob.size)
    if len(data) < blob.size:
        raise PickleError(f"the file ends within the {blob.size} bytes from byte {blob.at} on", blob.at, True)
    return decoded(data, blob.coding, blob.at)


def decoded(data: bytes, coding: str, place: int) -> bytes:
    """Bytes as they were before they were written in a coding of `Blob`."""
    try:
        if coding == "escape":
            return codecs.escape_decode(data)[0]
        if coding:
            return data.decode("utf-8").encode(coding)
    except ValueError as error:
        raise PickleError(f"the text at byte {place} does not stand for bytes: {error}", place) from error
    return data


def called(function: object, arguments: object, place: int) -> object:
    """The value of a call that a pickle asks for, of one of the few functions that are known here.

    Raises:
        ForbiddenError: of any other.
    """
    if not isinstance(function, Name):
        raise ForbiddenError(f"at byte {place} it calls something that is not a function", place)
    known = _CALLS.get((function.module, function.name))
    if known is None:
        raise forbidden(function, place)
    value = known(arguments) if isinstance(arguments, tuple) else None
    if value is None:
        raise ForbiddenError(f"at byte {place} it calls {function.shown} in a way that plain values do not", place)
    return value


def is_known(name: Name) -> bool:
    """Whether plain values may use this name."""
    return (name.module, name.name) in _CALLS or name == Name("numpy", "ndarray")


def forbidden(name: Name, place: int) -> ForbiddenError:
    """The error for a name that plain values may not use."""
    return ForbiddenError(
        f"at byte {place} it names {name.shown!r}. Only lists, tuples, bytes, text, numbers, bools and numpy arrays of "
        "numbers are read; anything else could run code, and is never looked up",
        place,
    )


def set_state(value: object, state: object, place: int) -> None:
    """Fill in an array or a dtype as numpy's `__setstate__` would."""
    if isinstance(value, DType) and isinstance(state, tuple) and len(state) > 1:
        value.big = state[1] in (">", b">")
        return
    if isinstance(value, Array) and isinstance(state, tuple) and len(state) >= 4:
        shape, dtype, fortran, data = state[-4:]
        if isinstance(dtype, DType) and _is_shape(shape) and (not fortran or len(shape) == 1):
            _fill(value, dtype, shape, data)
            return
    raise ForbiddenError(f"at byte {place} it sets a state that plain values do not have", place)


def _fill(array: Array, dtype: DType, shape: Any, data: object) -> Array:
    array.dtype, array.big, array.shape = dtype.name, dtype.big, shape
    if isinstance(data, bytes | Blob):
        array.data = data
    elif isinstance(data, str):  # Python 3 reads the bytes of a Python 2 pickle as text where it is not told better
        array.data = data.encode("latin-1", "replace")
    else:
        array.dtype = "object"
    return array


def numbers(array: Array, stream: IO[bytes]) -> list[bool | int | float]:
    """The values of an array of numbers with one dimension.

    Raises:
        PickleError: it is another one, or its bytes are not all there.
    """
    data = load_blob(stream, array.data) if isinstance(array.data, Blob) else array.data
    if array.dtype not in _NUMBERS or len(array.shape) != 1 or len(data) != array.shape[0] * int(array.dtype[1]):
        what = f"an array of type {array.dtype[:20]!r} and shape {array.shape} with {len(data)} bytes"
        raise PickleError(f"it is {what}, expected a list of numbers", 0)
    values: list[bool | int | float] = np.frombuffer(data, _numpy_type(array.dtype, array.big)).tolist()
    return values


def _numpy_type(name: str, big: bool) -> str:
    return (">" if big else "<") + name.replace("b1", "?")


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and all(isinstance(each, int) and each >= 0 for each in shape)


def _reconstruct(arguments: tuple[object, ...]) -> object | None:
    return Array() if arguments[:1] == (Name("numpy", "ndarray"),) else None


def _dtype(arguments: tuple[object, ...]) -> object | None:
    name = arguments[0] if arguments else None
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return DType(name.lstrip("|<>=")) if isinstance(name, str) else None


def _from_buffer(arguments: tuple[object, ...]) -> object | None:
    """`numpy.core.numeric._frombuffer(data, dtype, shape, order)`, of protocol 5."""
    if len(arguments) != 4:
        return None
    data, dtype, shape, _ = arguments
    return _fill(Array(), dtype, shape, data) if isinstance(dtype, DType) and _is_shape(shape) else None


def _scalar(arguments: tuple[object, ...]) -> object | None:
    if len(arguments) != 2 or not isinstance(arguments[0], DType):
        return None
    name, data = arguments[0].name, arguments[1]
    if name not in _NUMBERS or not isinstance(data, bytes) or len(data) != int(name[1]):
        return None
    found: object = np.frombuffer(data, _numpy_type(name, arguments[0].big))[0].item()
    return found


def _encode(arguments: tuple[object, ...]) -> object | None:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes for Python 2."""
    text, coding = (arguments[0], arguments[1]) if len(arguments) == 2 else (None, None)
    if coding not in ("latin1", "latin-1"):
        return None
    if isinstance(text, Blob):
        return text._replace(coding="latin-1")
    return text.encode("latin-1", "replace") if isinstance(text, str) else None


def _bytes(arguments: tuple[object, ...]) -> object | None:
    if not arguments:
        return b""
    if len(arguments) == 2:
        return _encode(arguments)
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], bytes | Blob) else None


_CALLS: dict[tuple[str, str], Callable[[tuple[object, ...]], object | None]] = {
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{(module, name): _bytes for module in ("__builtin__", "builtins") for name in ("bytes", "bytearray")},
    **{(part, "_reconstruct"): _reconstruct for part in _PARTS},
    **{(part, "scalar"): _scalar for part in _PARTS},
    **{(part, "_frombuffer"): _from_buffer for part in ("numpy.core.numeric", "numpy._core.numeric")},
}
