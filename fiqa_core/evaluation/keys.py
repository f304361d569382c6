"""Find the images that a pair list or a score file names; tools write names in different ways."""

import difflib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.wording import counted

_EXTENSION = r"(?i)\.(jpe?g|png|bmp|webp|npy)$"
_NEAREST_AMONG = 200_000


class KeyIndex:
    """Row numbers by name.

    A name is searched for as it is, then without its image extension, then (where no two rows share it) below the
    folders that all keys begin with, then by its file name: `Ann/Ann_0001` finds `lfw/images/Ann/Ann_0001.jpg`. Where
    both have folders, those of one must end with those of the other: `Bob/0001` never finds `Ann/0001.jpg`.
    """

    def __init__(self, keys: Sequence[str | None] | pa.Array | pa.ChunkedArray, where: str) -> None:
        """`keys`: one a row (null: the row has no name). `where`: for error messages."""
        self.keys = _array(keys)
        self.where = where
        stems = pc.replace_substring_regex(self.keys, _EXTENSION, "")
        self._stems = stems
        self._views = [_unique(view) for view in (self.keys, stems, _below_common(stems))]
        self._last = _unique(_last(stems))

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, names: Sequence[str] | pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Row of each name, int64; -1 where there is none."""
        wanted = _array(names)
        found = np.full(len(wanted), -1, np.int64)
        stems = pc.replace_substring_regex(wanted, _EXTENSION, "")
        for asked, view in zip((wanted, stems, stems), self._views, strict=True):
            found = np.where(found >= 0, found, _places(asked, view))
        if (found < 0).any():
            found = np.where(found >= 0, found, self._by_file_name(stems))
        return found

    def _by_file_name(self, stems: pa.Array) -> np.ndarray:
        rows = _places(_last(stems), self._last)
        there = np.flatnonzero(rows >= 0)
        asked, keys = stems.take(pa.array(there)).to_pylist(), self._stems.take(pa.array(rows[there])).to_pylist()
        other = [not _same_file(name, key) for name, key in zip(asked, keys, strict=True)]
        rows[there[np.array(other, bool)]] = -1
        return rows

    def require(self, names: Sequence[str] | pa.Array | pa.ChunkedArray, asked_by: str) -> np.ndarray:
        """Row of each name, int64.

        Raises:
            EvaluationError: a name that no row has; the nearest key is named.
        """
        rows = self.find(names)
        if (rows < 0).any():
            missing = np.flatnonzero(rows < 0)
            name = str(_array(names)[int(missing[0])].as_py())
            raise EvaluationError(
                f"{asked_by}: {len(missing):,} of {counted(len(rows), 'name is', 'names are')} not in {self.where}; "
                f"the first is {name!r}. " + self._nearest(name)
            )
        return rows

    def _nearest(self, name: str) -> str:
        keys = [key for key in self.keys[:_NEAREST_AMONG].to_pylist() if key is not None]
        if name in keys:
            return "Several rows have that key, so it cannot be told which is meant: give the table of one dataset."
        if not keys:
            return "It holds no keys at all."
        close = difflib.get_close_matches(name, keys, 1, 0.5)
        return f"The nearest key is {close[0]!r}." if close else f"Its keys look like {keys[0]!r}."


def _array(values: Sequence[str | None] | pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    return values if isinstance(values, pa.Array) else pa.array(values, pa.string())


def _places(asked: pa.Array, view: pa.Array) -> np.ndarray:
    rows = pc.fill_null(pc.index_in(asked, view, skip_nulls=True), -1).to_numpy(zero_copy_only=False)
    return np.asarray(rows.astype(np.int64))


def _same_file(name: str, key: str) -> bool:
    return "/" not in name or f"/{key}".endswith(f"/{name.lstrip('/')}") or f"/{name}".endswith(f"/{key.lstrip('/')}")


def _unique(keys: pa.Array) -> pa.Array:
    """The keys; null if two rows share one, because an ambiguous name must not find either."""
    counts = pc.value_counts(keys)
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return pc.if_else(pc.is_in(keys, shared), pa.scalar(None, pa.string()), keys) if len(shared) else keys


def _below_common(keys: pa.Array) -> pa.Array:
    bounds = pc.min_max(keys).as_py()
    if bounds["min"] is None:
        return keys
    first, last = PurePosixPath(bounds["min"]).parts[:-1], PurePosixPath(bounds["max"]).parts[:-1]
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    prefix = "/".join(first[:count]).replace("//", "/") + "/" if count else ""
    return pc.utf8_slice_codeunits(keys, len(prefix)) if prefix else keys


def _last(keys: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(keys, r"^.*/", "")
