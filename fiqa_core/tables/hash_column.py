"""Perceptual hashes of a quality table as numbers, whatever type the table stores them in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.tables.quality_files import TableError

_DIGITS = 16
_HEXADECIMAL = "^[0-9a-fA-F]{16}$"


def hash_numbers(column: pa.ChunkedArray, url: str) -> tuple[np.ndarray, np.ndarray]:
    """Hashes, uint64 (n,), and whether each row has one, bool (n,); 0 for a row without.

    Args:
        column: 16 hexadecimal digits a row, or (tables of schema version 1) uint64. url: of the file, for errors.

    Raises:
        TableError: a text that is not 16 hexadecimal digits.
    """
    known = pc.is_valid(column).to_numpy()
    if pa.types.is_integer(column.type):
        return pc.fill_null(pc.cast(column, pa.uint64()), 0).to_numpy(), known
    texts = pc.fill_null(pc.cast(column, pa.string()), "0" * _DIGITS)
    if len(texts) and not pc.all(pc.match_substring_regex(texts, _HEXADECIMAL)).as_py():
        raise TableError(f"{url}: a value of the column 'phash' is not {_DIGITS} hexadecimal digits.")
    digits = pc.cast(pc.cast(texts, pa.binary()), pa.binary(_DIGITS)).combine_chunks()
    if not len(digits):
        return np.empty(0, np.uint64), known
    array = digits.chunk(0) if isinstance(digits, pa.ChunkedArray) else digits
    start = array.offset * _DIGITS
    flat = bytes(array.buffers()[1])[start : start + len(array) * _DIGITS]
    return np.frombuffer(bytes.fromhex(flat.decode("ascii")), ">u8").astype(np.uint64), known
