"""The container formats, and what a file's name says of its format."""

import difflib
from collections.abc import Sequence

from fiqa_core.shards.folder.reader import Folder
from fiqa_core.shards.names import is_image
from fiqa_core.shards.parquet.reader import Parquet
from fiqa_core.shards.recordio.reader import RecordIO, is_companion
from fiqa_core.shards.unit import Container, Unit
from fiqa_core.shards.webdataset.reader import WebDataset
from fiqa_core.storage import without_query

# A new format is one module and one line here.
CONTAINERS: dict[str, Container] = {
    "webdataset": WebDataset(),
    "folder": Folder(),
    "parquet": Parquet(),
    "recordio": RecordIO(),
}
FORMATS = ("auto", *CONTAINERS)


class PlanError(ValueError):
    """The inputs cannot be planned; the message says which, what was found and what to do."""


def container_of(unit: Unit) -> Container:
    """The container format that reads a unit."""
    return CONTAINERS[unit.container]


def format_of(name: str) -> str | None:
    """The format that a file's name stands for (`folder`: an image file), None if it is not known."""
    name = without_query(name)
    for container in CONTAINERS.values():
        if container.suffixes and name.lower().endswith(container.suffixes):
            return container.name
    return Folder.name if is_image(name) else None


def belongs_to_a_shard(name: str, kind: str) -> bool:
    """Whether a file of a folder of shards of one kind is a part of them (an index), though no shard itself."""
    return kind == RecordIO.name and is_companion(name)


def what_instead(names: Sequence[str]) -> str:
    """What was found and what would have been understood, as the end of an error message."""
    known = sorted(suffix for c in CONTAINERS.values() for suffix in c.suffixes)
    found = f" Found: {', '.join(names[:3])}." if names else ""
    close = difflib.get_close_matches(names[0].rpartition(".")[2], [k[1:] for k in known], 1) if names else []
    hint = f" Did you mean .{close[0]}?" if close else ""
    return f"{found}{hint} Expected {', '.join(known)}, or image files (.jpg, .png, .webp ...)."
