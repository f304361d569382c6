"""Names of dropped images: `<reason>/<identity>/<image>`, valid on every system and never two images' name."""

import hashlib
import io
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from fiqa_core.curation.dropped.settings import REPEATED, index_place
from fiqa_core.shards.output_names import file_stem, label_folder
from fiqa_core.storage import publish_bytes, read_bytes

_UNLABELLED = "_unlabelled"


def stem_of(reason: str, label: str | None, key: str | None) -> str:
    """The path of an image below `dropped`, without its suffix. A label with slashes is one folder, so that folders
    and images lie at different depths and never have one name."""
    folder = label_folder(label or "").replace("/", "_") or _UNLABELLED
    name = file_stem(None, key or "")
    return f"{label_folder(reason).replace('/', '_')}/{folder}/{name}"


def publish_repeated(output: str, stems: Iterable[str]) -> None:
    """Find the paths that several images would have, ignoring case, and write them down for all workers; takes 8 bytes
    for each image."""
    hashes = np.fromiter(map(_hash, stems), np.uint64)
    hashes.sort()
    stream = io.BytesIO()
    np.save(stream, np.unique(hashes[1:][hashes[1:] == hashes[:-1]]), allow_pickle=False)
    publish_bytes(stream.getvalue(), output, index_place(output, REPEATED))


class RepeatedNames:
    """Whether several images would have a path."""

    def __init__(self, output: str) -> None:
        self._hashes = np.load(io.BytesIO(read_bytes(index_place(output, REPEATED))), allow_pickle=False)

    def __contains__(self, stem: object) -> bool:
        wanted = _hash(str(stem))
        at = int(np.searchsorted(self._hashes, wanted))
        return bool(at < len(self._hashes) and self._hashes[at] == wanted)


@lru_cache(maxsize=1)
def repeated_names(output: str, plan: str) -> RepeatedNames:  # noqa: ARG001  # the plan tells one from another
    """The names of a plan, read once by each worker process."""
    return RepeatedNames(output)


def _hash(stem: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(stem.casefold().encode(), digest_size=8).digest(), "big"))
