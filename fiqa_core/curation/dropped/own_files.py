"""Which files below `dropped` a run wrote: only these are ever removed, and nothing behind a link."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.dropped.settings import DROPPED, DROPPED_INDEX, NAMES, index_place
from fiqa_core.curation.subset.settings import SubsetError
from fiqa_core.storage import filesystem, is_local, join, list_names, open_read, publish_bytes, read_bytes, remove
from fiqa_core.storage.places import store_of
from fiqa_core.wording import one_line

INDEX_FILES = re.compile(r"part-\d{6,}\.parquet|names-\d{6,}-\d+\.txt|plan\.json|summary\.json|repeated_names\.npy")
_ROWS_AT_ONCE = 65_536


def note_names(output: str, part: int, number: int, names: Sequence[str]) -> None:
    """Write down which images are about to be put in place: until their index is there, nothing else tells whose they
    are."""
    url = index_place(output, f"{NAMES}-{part:06d}-{number}.txt")
    publish_bytes("\n".join(names).encode(), output, url)


def forget_names(output: str, part: int) -> None:
    """Remove the notes of a part, once its index is there."""
    for name in list_names(index_place(output)):
        if name.startswith(f"{NAMES}-{part:06d}-"):
            remove(index_place(output, name))


def is_begun(output: str) -> bool:
    """Whether anything was written."""
    return bool(list_names(index_place(output)))


def clear_dropped(output: str) -> None:
    """Remove all dropped images and their index.

    Raises:
        SubsetError: a file among them that no run wrote; nothing was removed.
    """
    refuse_foreign(output)
    remove(join(output, DROPPED))
    remove(join(output, DROPPED_INDEX))


def refuse_foreign(output: str) -> None:
    """Refuse to go on where a file lies among dropped images that no run wrote there.

    Raises:
        SubsetError: it names the first.
    """
    foreign = next(_foreign(output), None)
    if foreign is not None:
        raise SubsetError(
            f"{output}: only what a filter run wrote is ever removed, but there is also {foreign!r}. "
            "Move it away or choose another --output."
        )


def _foreign(output: str) -> Iterator[str]:
    names = list_names(index_place(output))
    yield from (f"{DROPPED_INDEX}/{name}" for name in names if not INDEX_FILES.fullmatch(name))
    written: np.ndarray | None = None
    for path, is_link in _everything(join(output, DROPPED)):
        if written is None:
            written = _written(output, names)
        if is_link or not _holds(written, path):
            yield f"{DROPPED}/{path}"


def _everything(folder: str) -> Iterator[tuple[str, bool]]:
    """Every file below a folder, hidden ones too, and whether it is a link (to a folder, too: none is followed)."""
    if not is_local(folder):
        store, path = store_of(folder)
        prefix = path.rstrip("/") + "/"
        paths = (listed.path for listed in store.entries(prefix, deep=True))
        yield from ((path[len(prefix) :], False) for path in paths if not path.endswith("/"))
        return
    root = Path(filesystem(folder)[1])
    waiting = [root] if root.is_dir() else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield os.path.relpath(entry.path, root), entry.is_symlink()


def _written(output: str, names: Sequence[str]) -> np.ndarray:
    """Hashes of the paths of all images that were written, sorted; 8 bytes an image."""
    hashes = np.fromiter(map(_hash, _paths(output, names)), np.uint64)
    hashes.sort()
    return hashes


def _paths(output: str, names: Sequence[str]) -> Iterable[str]:
    for name in names:
        url = index_place(output, name)
        if name.startswith(NAMES):
            yield from read_bytes(url).decode().split("\n")
        elif name.endswith(".parquet"):
            try:
                with open_read(url) as stream:
                    for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE, columns=["file"]):
                        yield from batch["file"].to_pylist()
            except (pa.ArrowException, KeyError) as error:
                raise SubsetError(
                    f"{url}: damaged, so whose the files in {join(output, DROPPED)} are is not known. Remove the "
                    f"folder yourself, or choose another --output. ({one_line(error, 200)})"
                ) from error


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def _holds(hashes: np.ndarray, path: str) -> bool:
    wanted = np.uint64(_hash(path))
    at = int(np.searchsorted(hashes, wanted))
    return bool(at < len(hashes) and hashes[at] == wanted)
