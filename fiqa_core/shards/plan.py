"""From what the user names (URIs, globs, folders) to a numbered list of units."""

import difflib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fiqa_core.shards.folder import Folder, plan_file, plan_folder
from fiqa_core.shards.names import is_image
from fiqa_core.shards.parquet import Parquet
from fiqa_core.shards.unit import Container, Unit
from fiqa_core.shards.webdataset import WebDataset
from fiqa_core.storage import (
    Listed,
    StoredFile,
    absolute,
    expand_glob,
    has_glob,
    in_flight,
    is_folder,
    join,
    stat,
    walk,
)

_log = logging.getLogger(__name__)

# A new format is one module and one line here.
CONTAINERS: dict[str, Container] = {"webdataset": WebDataset(), "folder": Folder(), "parquet": Parquet()}
FORMATS = ("auto", *CONTAINERS)

_PLANNED_AT_ONCE = 16  # shards whose footers are read at the same time: planning waits for the store, not for a core
_LOOK_AT = 2000  # files of a folder that are looked at to tell what kind of dataset it is


class PlanError(ValueError):
    """The inputs cannot be planned; the message says which, what was found and what to do."""


@dataclass(frozen=True)
class Plan:
    """The units of a dataset, and files of its folders that are not records (for the log)."""

    units: tuple[Unit, ...]
    passed_over: tuple[str, ...]

    @property
    def records(self) -> int | None:
        """Number of records, None where only reading can tell."""
        counts = [unit.records for unit in self.units]
        return None if -1 in counts else sum(counts)


def container_of(unit: Unit) -> Container:
    """The container format that reads a unit."""
    return CONTAINERS[unit.container]


def plan_dataset(inputs: Sequence[str], container: str, unit_size: int, workspace: str) -> Plan:
    """Cut a dataset into units.

    Args:
        inputs: URIs or local paths of shards, image files or folders, with globs.
        container: a name of `CONTAINERS`, or `auto` to tell by the files' names.
        unit_size: records a unit, where the format can be cut.
        workspace: folder URI for listings that units refer to.

    Raises:
        PlanError: an input that does not exist, of no known format, or of several.
    """
    units: list[Unit] = []
    passed_over: list[str] = []
    sources = list(_sources(inputs, container))
    plans = in_flight(sources, lambda s: _plan_source(s, container, unit_size, workspace), _PLANNED_AT_ONCE)
    for found, names in plans:
        units += found
        passed_over += names
    return Plan(tuple(replace(unit, number=n) for n, unit in enumerate(units)), tuple(passed_over))


def _plan_source(source: StoredFile, container: str, unit_size: int, workspace: str) -> tuple[list[Unit], list[str]]:
    if source.size < 0:
        units, names = plan_folder(source, unit_size, workspace)
        if not units:
            raise PlanError(f"{source.shown}: the folder holds no image files.{_what_instead(names)}")
        return units, names
    kind = _container_name(source, container)
    if kind == Folder.name:
        return plan_file(source, workspace), []
    return list(CONTAINERS[kind].plan(source, unit_size)), []


def _sources(inputs: Sequence[str], container: str) -> Iterable[StoredFile]:
    """Shards and image folders (size -1), each once, in the order given."""
    seen: dict[str, StoredFile] = {}
    for uri in inputs:
        for source in _expand(uri, container):
            if source.url in seen:
                _log.warning("%s was named more than once; it is read once", source.shown)
            seen.setdefault(source.url, source)
    return seen.values()


def _expand(uri: str, container: str) -> list[StoredFile]:
    if has_glob(uri):
        files = expand_glob(uri)
        if not files:
            raise PlanError(f"{uri}: no file matches. Check the pattern (and quote it, so that the shell leaves it).")
        return files
    if is_folder(uri):
        return _expand_folder(uri, container)
    file = stat(uri)
    if file is None:
        raise PlanError(f"{uri}: no such file or folder. Check the name and your access to it.")
    return [file]


def _expand_folder(uri: str, container: str) -> list[StoredFile]:
    """A folder of shards becomes its shards; any other folder is one image folder."""
    kind = _folder_kind(uri) if container == "auto" else container
    if kind == Folder.name:
        return [StoredFile(uri, absolute(uri), -1, "")]
    suffixes = CONTAINERS[kind].suffixes
    found = [file for file in walk(uri) if file.path.decode("utf-8", "replace").endswith(suffixes)]
    files = [_shard(uri, file) for file in found]
    if not files:
        raise PlanError(f"{uri}: the folder holds no {' or '.join(suffixes)} files, expected of --format {kind}.")
    return [file for file in files if file is not None]


def _shard(folder: str, file: Listed) -> StoredFile | None:
    name = os.fsdecode(file.path)
    if file.version:
        return StoredFile(join(folder, name), join(absolute(folder), name), file.size, file.version)
    return stat(join(folder, name))


def _folder_kind(uri: str) -> str:
    kinds: dict[str, str] = {}
    for number, file in enumerate(walk(uri)):
        name = file.path.decode("utf-8", "replace")
        kind = _by_suffix(name)
        if kind:
            kinds.setdefault(kind, name)
        if number >= _LOOK_AT:
            break
    if len(kinds) > 1:
        examples = ", ".join(f"{name} ({kind})" for kind, name in kinds.items())
        raise PlanError(f"{uri}: files of several formats: {examples}. Name them by a glob, or say --format.")
    return next(iter(kinds), Folder.name)


def _container_name(file: StoredFile, container: str) -> str:
    kind = container if container != "auto" else _by_suffix(file.url)
    if kind is None:
        raise PlanError(f"{file.shown}: not a known kind of shard.{_what_instead([file.shown])}")
    return kind


def _by_suffix(name: str) -> str | None:
    for container in CONTAINERS.values():
        if container.suffixes and name.lower().endswith(container.suffixes):
            return container.name
    return Folder.name if is_image(name) else None


def _what_instead(names: Sequence[str]) -> str:
    known = sorted(suffix for c in CONTAINERS.values() for suffix in c.suffixes)
    found = f" Found: {', '.join(names[:3])}." if names else ""
    close = difflib.get_close_matches(names[0].rpartition(".")[2], [k[1:] for k in known], 1) if names else []
    hint = f" Did you mean .{close[0]}?" if close else ""
    return f"{found}{hint} Expected {', '.join(known)}, or image files (.jpg, .png, .webp ...)."
