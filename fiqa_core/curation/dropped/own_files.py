"""Which files below `dropped` a run wrote: only these are ever removed, and nothing behind a link."""

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.dropped.settings import DROPPED, DROPPED_INDEX, NAMES, index_place
from fiqa_core.curation.subset.own_files import refuse_first
from fiqa_core.curation.subset.settings import SubsetError
from fiqa_core.curation.written_paths import PathSet, files_below
from fiqa_core.storage import join, list_names, open_read, publish_bytes, read_bytes, remove
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
    refuse_first(output, _foreign(output))


def _foreign(output: str) -> Iterator[str]:
    names = list_names(index_place(output))
    yield from (f"{DROPPED_INDEX}/{name}" for name in names if not INDEX_FILES.fullmatch(name))
    written: PathSet | None = None
    for path, is_link in files_below(join(output, DROPPED)):
        if written is None:
            written = PathSet(_paths(output, names))
        if is_link or path not in written:
            yield f"{DROPPED}/{path}"


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
