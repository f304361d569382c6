"""File names of a folder subset that several images would have: found once, so that workers agree on them."""

import hashlib
import io
from collections.abc import Iterable, Sequence

import numpy as np

from fiqa_core.curation.subset import WORK, place
from fiqa_core.shards.output_names import file_stem
from fiqa_core.storage import publish_bytes, read_bytes

_SHARED = f"{WORK}/shared_names.npy"


def publish_shared_names(
    output: str, names: Iterable[tuple[str, str | None]], dense: bool, labels: Sequence[str]
) -> None:
    """Find the names (key, label) of which there are several, upper and lower case being one; 8 bytes an image."""
    numbers = {label: str(number) for number, label in enumerate(labels)} if dense else {}
    hashes = np.fromiter(
        (_hash(file_stem(numbers.get(label, label) if label is not None else None, key)) for key, label in names),
        np.uint64,
    )
    hashes.sort()
    again = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    stream = io.BytesIO()
    np.save(stream, again, allow_pickle=False)
    publish_bytes(stream.getvalue(), output, place(output, _SHARED))


class SharedNames:
    """Tells names that several images have."""

    def __init__(self, output: str) -> None:
        self._hashes = np.load(io.BytesIO(read_bytes(place(output, _SHARED))), allow_pickle=False)

    def __contains__(self, stem: object) -> bool:
        wanted = _hash(str(stem))
        at = int(np.searchsorted(self._hashes, wanted))
        return at < len(self._hashes) and self._hashes[at] == wanted


def _hash(stem: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(stem.casefold().encode(), digest_size=8).digest(), "big"))
