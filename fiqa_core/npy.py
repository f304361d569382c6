"""NumPy's .npy files from people's disks: nothing in their headers is believed before it is compared with the file."""

import io
import math
from pathlib import Path
from typing import IO

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.storage import filesystem, open_read, read_bytes

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_AXIS = 1 << 40


class NpyError(FiqaError, ValueError):
    """Not a .npy file of plain numbers, or not a whole one; the message names the file."""


def read_npy(url: str) -> np.ndarray:
    """The array in a file on any store.

    Raises:
        NpyError: a header that is damaged, names objects, or claims more or fewer numbers than there are.
    """
    data = read_bytes(url)
    stream = io.BytesIO(data)
    shape, is_fortran, dtype = _header(url, stream, len(data))
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")


def map_npy(url: str) -> np.ndarray:
    """The array in a file on a local disk, mapped into memory. Raises NpyError as `read_npy` does."""
    path = Path(filesystem(url)[1])
    with open_read(url) as stream:
        shape, is_fortran, dtype = _header(url, stream, path.stat().st_size)
        offset = stream.tell()
    if not math.prod(shape):
        return np.empty(shape, dtype)  # nothing can be mapped of no bytes
    return np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")


def _header(url: str, stream: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        read = _HEADERS[np.lib.format.read_magic(stream)]
        shape, is_fortran, dtype = read(stream)
    except Exception as error:  # as its bytes happen to say; the message may quote them
        raise NpyError(
            f"{url}: not a .npy file that can be read (its header is damaged, too long, or of another kind of file: "
            f"{type(error).__name__}). Save it again with numpy.save."
        ) from error
    if dtype.kind not in "biufc":
        raise NpyError(f"{url}: holds {'Python objects' if dtype.hasobject else dtype}, not plain numbers.")
    claimed, there = dtype.itemsize * math.prod(shape), size - stream.tell()
    if any(axis < 0 or axis > _LONGEST_AXIS for axis in shape) or claimed != there:
        raise NpyError(
            f"{url}: its header says {dtype} {shape}, but {max(there, 0):,} bytes of numbers follow. It is damaged or "
            "cut short: copy or save it again."
        )
    return shape, is_fortran, dtype
