"""Which files below `subset` a run wrote: only these are ever removed, and nothing behind a link."""

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.subset.settings import DATA, INDEX, LABELS, PLAN, REPORT, WORK, SubsetError, place
from fiqa_core.curation.written_paths import PathSet, files_below
from fiqa_core.shards.formats import SAME, output_formats, output_of
from fiqa_core.shards.output import SetOutput, ShardOutput
from fiqa_core.storage import (
    join,
    list_names,
    open_read,
    publish_bytes,
    read_bytes,
    remove,
)
from fiqa_core.wording import one_line

_ROWS_AT_ONCE = 65_536
_NOTE = re.compile(r"names-(\d{12,18})\.txt")
_TOP = {DATA, INDEX, WORK, "_tmp", LABELS, PLAN, REPORT}
_BELOW = {
    WORK: re.compile(r"run-\d{6,}\.(bin|parquet)|shared_names\.npy|names-\d+\.txt"),
    "_tmp": re.compile(r"fiqa-[0-9a-f]+"),
}


def note_names(output: str, first: int, names: Sequence[str]) -> None:
    """Write down which images of a folder are about to be put in place: until their index is there, nothing else tells
    whose they are.

    Args:
        first: place of the first of them in the subset. names: paths below `data`.
    """
    publish_bytes("\n".join(names).encode(), output, place(output, WORK, f"names-{first:012d}.txt"))


def forget_names(output: str, first: int, images: int) -> None:
    """Remove what `note_names` wrote of a run of images, once their index is there."""
    for name in list_names(place(output, WORK)):
        number = _NOTE.fullmatch(name)
        if number is not None and first <= int(number[1]) < first + images:
            remove(place(output, WORK, name))


def is_begun(output: str) -> bool:
    """Whether anything of a subset was written."""
    return any(list_names(place(output, folder)) for folder in (DATA, INDEX))


def clear_subset(output: str) -> None:
    """Remove a subset.

    Raises:
        SubsetError: a file in it that no run wrote; nothing was removed.
    """
    refuse_foreign(output)
    remove(place(output))


def clear_work(output: str) -> None:
    """Remove what is only needed while a subset is written, and the folder of it once nothing else is in it."""
    names = list_names(place(output, WORK))
    ours = [name for name in names if _BELOW[WORK].fullmatch(name)]
    if len(ours) == len(names):
        remove(place(output, WORK))
        return
    for name in ours:
        remove(place(output, WORK, name))


def refuse_foreign(output: str) -> None:
    """Refuse to go on where a file lies in a subset that no run wrote there.

    Raises:
        SubsetError: it names the first.
    """
    refuse_first(place(output), _foreign(output))


def refuse_first(folder: str, foreign: Iterator[str]) -> None:
    """Refuse to go on where a folder holds files that are not a run's own.

    Raises:
        SubsetError: it names the first of them.
    """
    first = next(foreign, None)
    if first is not None:
        raise SubsetError(
            f"{folder}: only what a filter run wrote is ever removed, but there is also {first!r}. "
            "Move it away or choose another --output."
        )


def _foreign(output: str) -> Iterator[str]:
    present = list_names(place(output))
    yield from (name for name in present if name not in _TOP)
    shard, index = _patterns()
    for folder, ours in (_BELOW | {INDEX: index}).items():
        names = list_names(place(output, folder)) if folder in present else []
        yield from (f"{folder}/{name}" for name in names if not ours.fullmatch(name))
    if DATA not in present:
        return
    written: PathSet | None = None
    for path, is_link in files_below(place(output, DATA)):
        if not is_link and shard.fullmatch(path):
            continue
        if written is None:
            written = PathSet(_names(output))
        if is_link or path not in written:
            yield f"{DATA}/{path}"


def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How files of `data` and of `index` are called, in whatever format; images that are files of their own have other
    names, which their index lists."""
    kinds = [output_of(name) for name in output_formats() if name != SAME]
    suffixes = "|".join(re.escape(kind.suffix) for kind in kinds if isinstance(kind, ShardOutput))
    files = "|".join(re.escape(name) for kind in kinds if isinstance(kind, SetOutput) for name in kind.files)
    sets = "|".join(re.escape(kind.name) for kind in kinds if isinstance(kind, SetOutput))
    shard = r"shard-\d{6,}"
    return re.compile(rf"{shard}({suffixes})|{files}"), re.compile(rf"({shard}|{sets})\.parquet")


def _names(output: str) -> Iterable[str]:
    for name in list_names(place(output, INDEX)):
        url = place(output, INDEX, name)
        try:
            with open_read(url) as stream:
                for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE, columns=["out_shard", "out_key"]):
                    rows = zip(batch["out_shard"].to_pylist(), batch["out_key"].to_pylist(), strict=True)
                    yield from (key for shard, key in rows if shard == DATA and key)
        except (pa.ArrowException, KeyError) as error:
            raise SubsetError(
                f"{url}: damaged, so whose the files in {place(output, DATA)} are is not known. Remove the folder "
                f"yourself, or choose another --output. ({one_line(error, 200)})"
            ) from error
    for name in list_names(place(output, WORK)):
        if name.startswith("names-"):
            yield from read_bytes(join(place(output, WORK), name)).decode().split("\n")
