"""The registry of container formats, and questions to all of them. (What one format answers: `container.py`.)"""

import difflib
from collections.abc import Sequence

from fiqa_core.errors import FiqaError
from fiqa_core.shards.arrow_ipc.reader import Arrow
from fiqa_core.shards.container import Container, LooseFiles
from fiqa_core.shards.folder.reader import Folder
from fiqa_core.shards.insightface_bin.reader import InsightFaceBin
from fiqa_core.shards.lmdb.reader import Lmdb
from fiqa_core.shards.output import Output
from fiqa_core.shards.parquet.reader import Parquet
from fiqa_core.shards.path_list.reader import PathList
from fiqa_core.shards.recordio.reader import RecordIO
from fiqa_core.shards.tfrecord.reader import TFRecord
from fiqa_core.shards.unit import Unit
from fiqa_core.shards.webdataset.reader import WebDataset
from fiqa_core.shards.zip.reader import Zip
from fiqa_core.storage import without_query

# A new format is one folder and one line here. Of two formats that recognise a name, the first has it.
_ALL: tuple[Container, ...] = (
    WebDataset(),
    Folder(),
    Parquet(),
    RecordIO(),
    Lmdb(),
    TFRecord(),
    InsightFaceBin(),
    Zip(),
    Arrow(),
    PathList(),
)
CONTAINERS: dict[str, Container] = {container.name: container for container in _ALL}
AUTO = "auto"
SAME = "same"


class PlanError(FiqaError, ValueError):
    """The inputs cannot be planned; the message says which, what was found and what to do."""


def container_of(unit: Unit) -> Container:
    """The container format that reads a unit.

    Raises:
        PlanError: no format of this name is known; the plan is of another version.
    """
    try:
        return CONTAINERS[unit.container]
    except KeyError:
        raise PlanError(
            f"{unit.shard}: planned as the format {unit.container!r}, which this version does not know (it knows "
            f"{', '.join(CONTAINERS)}). Use the version that scored it, or score it again."
        ) from None


def input_formats() -> tuple[str, ...]:
    """What `--format` may be: `auto`, to tell by the files' names, or a format."""
    return (AUTO, *CONTAINERS)


def output_formats() -> tuple[str, ...]:
    """What images may be written as: `same`, the format of the input, or a format that can be written."""
    return (SAME, *(name for name, container in CONTAINERS.items() if container.output is not None))


def output_of(name: str) -> Output:
    """How a format is written.

    Raises:
        KeyError: no format of this name can be written.
    """
    output = CONTAINERS[name].output
    if output is None:
        raise KeyError(name)
    return output


def same_as(name: str) -> str | None:
    """The format that `same` stands for where the input is of this format; None if that can only be read."""
    container = CONTAINERS[name]
    return container.same or (name if container.output is not None else None)


def index_moves(name: str | None) -> bool:
    """Whether files that are added to a dataset of this format move the `index` of its records; not of one that is
    not known here (a table may come from a later version)."""
    return name in CONTAINERS and CONTAINERS[name].index_moves


def listing_in_plan(name: str | None) -> bool:
    """Whether a unit of this format names a file of the plan folder in its `listing`; not of one that is not known."""
    return name in CONTAINERS and CONTAINERS[name].listing_in_plan


def loose_files() -> LooseFiles:
    """The format that a folder without any shard is taken for."""
    return next(container for container in CONTAINERS.values() if isinstance(container, LooseFiles))


def format_of(name: str) -> str | None:
    """The format that a file's name stands for (`folder`: an image file), None if it is not known."""
    name = without_query(name)
    return next((container.name for container in CONTAINERS.values() if container.recognises(name)), None)


def named_format_of(name: str) -> str | None:
    """As `format_of`, for a file that the user named itself."""
    name = without_query(name)
    named = (container.name for container in CONTAINERS.values() if container.recognises_named(name))
    return format_of(name) or next(named, None)


def what_instead(names: Sequence[str]) -> str:
    """What was found and what would have been understood, as the end of an error message."""
    all_suffixes = (suffix for each in CONTAINERS.values() for suffix in (*each.suffixes, *each.named_suffixes))
    known = sorted(all_suffixes)
    found = f" Found: {', '.join(names[:3])}." if names else ""
    ends = [suffix[1:] for suffix in known if suffix.startswith(".")]
    close = difflib.get_close_matches(names[0].rpartition(".")[2], ends, 1) if names else []
    hint = f" Did you mean .{close[0]}?" if close else ""
    return f"{found}{hint} Expected {', '.join(known)}, or image files (.jpg, .png, .webp ...)."
