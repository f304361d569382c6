"""File names that several images of a folder subset would have: found once, so that all workers use the same names."""

import hashlib
import io
from collections.abc import Iterable, Sequence

import numpy as np

from fiqa_core.curation.subset.settings import WORK, place
from fiqa_core.shards.output_names import file_stem
from fiqa_core.storage import publish_bytes, read_bytes

_SHARED = f"{WORK}/shared_names.npy"


def publish_shared_names(
    output: str, names: Iterable[tuple[str, str | None]], dense: bool, labels: Sequence[str]
) -> None:
    """Find the names (key, label) that occur several times, ignoring case; takes 8 bytes for each image.

    Numbered folders have leading zeros, so that they sort as numbers: readers that number classes by the order of their
    folders (ImageFolder) then give an image the number that it has in `new_label`.
    """
    width = len(str(max(0, len(labels) - 1)))
    numbers = {label: f"{number:0{width}d}" for number, label in enumerate(labels)} if dense else {}
    hashes = np.fromiter(
        (_hash(file_stem(numbers.get(label, label) if label is not None else None, key)) for key, label in names),
        np.uint64,
    )
    hashes.sort()
    again = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    stream = io.BytesIO()
    np.save(stream, np.append(np.uint64(width), again), allow_pickle=False)
    publish_bytes(stream.getvalue(), output, place(output, _SHARED))


class SharedNames:
    """Whether several images have a name, and the folder of a number."""

    def __init__(self, output: str) -> None:
        values = np.load(io.BytesIO(read_bytes(place(output, _SHARED))), allow_pickle=False)
        self._width, self._hashes = int(values[0]), values[1:]

    def folder(self, number: int) -> str:
        """The folder of a dense label, with as many digits as the largest label."""
        return f"{number:0{self._width}d}"

    def __contains__(self, stem: object) -> bool:
        wanted = _hash(str(stem))
        at = int(np.searchsorted(self._hashes, wanted))
        return at < len(self._hashes) and self._hashes[at] == wanted


def _hash(stem: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(stem.casefold().encode(), digest_size=8).digest(), "big"))
