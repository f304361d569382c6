"""From what the user names (URIs, globs, folders) to shards and sets of image files, each of them once."""

import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fiqa_core.shards.braces import expand_braces
from fiqa_core.shards.container import Container, LooseFiles
from fiqa_core.shards.formats import AUTO, CONTAINERS, PlanError, format_of, loose_files, named_format_of, what_instead
from fiqa_core.shards.names import suffix
from fiqa_core.storage import (
    Listed,
    StoredFile,
    absolute,
    exists,
    expand_glob,
    glob_base,
    has_glob,
    in_flight,
    is_folder,
    is_local,
    join,
    look_into,
    stat,
    walk,
    without_query,
)
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_LOOK_AT = 2000  # files of a folder that are listed to tell which format it holds
_NAMES_KEPT = 1000
_NAMES_SHOWN = 10
_LOOKED_AT_ONCE = 16  # shards of a list that are looked up at the same time


class OwnFiles(Protocol):
    """Knows which files commands of this project wrote; they are never input."""

    def holds(self, folder: str, path: bytes) -> bool:
        """Whether a command wrote a file of a folder (the folder's absolute URL, and the file's path below it)."""

    def holds_url(self, url: str) -> bool:
        """Whether a command wrote this file."""

    def is_output(self, folder: str) -> bool:
        """Whether a folder is a command's output, or a part of one."""


@dataclass
class PassedOver:
    """Files of a folder that hold no records; among them shards of other formats, by format."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)

    def add(self, path: bytes) -> None:
        """Count a file; the first names are kept for messages."""
        name = path.decode("utf-8", "backslashreplace")
        self.count += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(name)
        if kind := format_of(name):
            self.others.setdefault(kind, name)

    def log(self, folder: str) -> None:
        """Log how many files were passed over, with some names."""
        if self.count:
            names = ", ".join(self.names[:_NAMES_SHOWN]) + (" ..." if self.count > _NAMES_SHOWN else "")
            _log.warning(
                "%s: passed over %s: %s",
                folder,
                counted(self.count, "file that holds no records", "files that hold no records"),
                names,
            )


@dataclass(frozen=True)
class ImageSet:
    """Image files that are planned together: a whole folder, files named one by one, or both.

    Attributes:
        container: their format. folder: where they lie. whole: all of its image files belong to the set.
        named: files that were named, by their paths below the folder.
    """

    container: LooseFiles
    folder: StoredFile
    whole: bool
    named: tuple[Listed, ...] = ()

    def files(self, own: OwnFiles, passed_over: PassedOver) -> Iterator[Listed]:
        """The files in order of their paths, each once; other files of the folder go to `passed_over`."""
        found = self._walk(own, passed_over) if self.whole else iter(())
        last = None
        for file in heapq.merge(found, sorted(self.named), key=lambda file: file.path):
            if file.path != last:
                yield file
            last = file.path

    def _walk(self, own: OwnFiles, passed_over: PassedOver) -> Iterator[Listed]:
        for file in walk_input(self.folder.url, own):
            if self.container.recognises(file.path.decode("utf-8", "replace")):
                yield file
            else:
                passed_over.add(file.path)


Source = StoredFile | ImageSet


def find_sources(inputs: Sequence[str], container: str, own: OwnFiles) -> list[Source]:
    """Shards and image sets in the order given, each once.

    Single image files are gathered into sets: with their folder if that is read as a whole, below the fixed part of
    the pattern if a pattern matched them, else by the folder they lie in.

    Raises:
        PlanError: an input that does not exist, that cannot be read, or of several formats.
    """
    found = list(_each_once(inputs, container, own))
    folders = {file.url: file for file, _ in found if file.kind == "folder"}
    folders = {url: file for url, file in folders.items() if not _reached_from_above(url, folders)}
    sources: dict[str, Source] = {}
    named: dict[str, list[Listed]] = {}
    for file, base in found:
        if file.kind == "folder":
            if file.url in folders:
                sources.setdefault(file.url, ImageSet(_loose(container), file, True))
        elif isinstance(kind := container_for(file, container), LooseFiles):
            home = _home(file, base, folders)
            sources.setdefault(home.url, ImageSet(kind, home, home.url in folders))
            path = os.fsencode(file.url.removeprefix(home.url.rstrip("/") + "/"))
            named.setdefault(home.url, []).append(Listed(path, file.size, file.version))
        else:
            # A file cannot be where a folder is, so their URLs never meet.
            sources[file.url] = file
    return [
        replace(source, named=tuple(named.get(url, ()))) if isinstance(source, ImageSet) else source
        for url, source in sources.items()
    ]


def walk_input(folder: str, own: OwnFiles) -> Iterator[Listed]:
    """Every file below a folder except those that commands wrote there."""
    url, count = absolute(folder), 0
    for file in walk(folder):
        if own.holds(url, file.path):
            count += 1
        else:
            yield file
    if count:
        _log.info(
            "%s: %s the output of scoring runs, not input", folder, counted(count, "file in it is", "files in it are")
        )


def several_formats(folder: str, examples: dict[str, str]) -> PlanError:
    """The error for a folder of several kinds of dataset."""
    shown = ", ".join(f"{name} ({kind})" for kind, name in examples.items())
    return PlanError(f"{folder}: files of several formats: {shown}. Name them by a glob, or say --format.")


def _each_once(inputs: Sequence[str], container: str, own: OwnFiles) -> Iterator[tuple[StoredFile, str]]:
    """What the inputs name, each with the fixed part of the pattern that matched it ("" without a pattern)."""
    seen: set[str] = set()
    repeated: list[str] = []
    for uri in _without_braces(inputs):
        for file, base in _named(uri, container, own):
            _refuse_names_that_are_not_text(file)
            if file.url in seen:
                repeated.append(file.shown)
            else:
                seen.add(file.url)
                yield file, base
    if repeated:
        _log.warning("%d inputs were named more than once, such as %s; each is read once", len(repeated), repeated[0])


def _without_braces(inputs: Sequence[str]) -> Iterator[str]:
    """The inputs with braces expanded (`train-{000..099}.tar`), where they are not in the name of a local file."""
    for uri in inputs:
        place = look_into(uri)[1]
        if "{" in uri and not (is_local(place) and exists(place)):
            yield from expand_braces(uri)
        else:
            yield uri


def _named(uri: str, container: str, own: OwnFiles) -> Iterator[tuple[StoredFile, str]]:
    """What one input names, each with the fixed part of the pattern that matched it; a list of shards names them."""
    for file, base in _named_itself(uri, container, own):
        kind = CONTAINERS.get(named_format_of(file.url) or "") if file.kind == "file" else None
        shards = kind.inputs_in(file, _is_shard) if kind is not None and container in (AUTO, kind.name) else None
        if shards is None:
            yield file, base
        else:
            names = list(_without_braces(shards))
            for found in in_flight(names, lambda name: list(_named_itself(name, AUTO, own)), _LOOKED_AT_ONCE):
                yield from found


def _is_shard(name: str) -> bool:
    kind = format_of(name)
    return kind is not None and not isinstance(CONTAINERS[kind], LooseFiles)


def _named_itself(uri: str, container: str, own: OwnFiles) -> Iterator[tuple[StoredFile, str]]:
    members, archive = look_into(uri)
    if archive != uri:
        yield from ((file, "") for file in _expand_inside(uri, members, archive))
        return
    pattern = has_glob(uri)
    base = glob_base(uri) if pattern else ""
    for file in _expand_glob(uri, container, own) if pattern else _expand(uri, container, own):
        yield file, base


def _expand_inside(uri: str, members: str, archive: str) -> Iterator[StoredFile]:
    """The archives that a URI looks into; their `url` says which members are meant."""
    found = [each for each in expand_glob(archive) if each.kind == "file"] if has_glob(archive) else [stat(archive)]
    for file in found:
        if file is None:
            break
        inside = f"zip://{members}::" if members else ""
        yield replace(file, shown=inside + file.shown, url=inside + file.url)
    if not found or None in found:
        raise PlanError(f"{uri}: there is no file {archive}. Expected zip://MEMBERS::ARCHIVE.zip. Check the name.")


def _expand_glob(pattern: str, container: str, own: OwnFiles) -> Iterator[StoredFile]:
    matches = expand_glob(pattern)
    files = [f for f in matches if not (own.is_output(f.url) if f.kind == "folder" else own.holds_url(f.url))]
    if len(files) < len(matches):
        _log.info("%s: %d matches are the output of scoring runs, not input", pattern, len(matches) - len(files))
    if not files:
        raise PlanError(f"{pattern}: no file matches. Check the pattern (and quote it, so that the shell leaves it).")
    for file in files:
        if file.kind == "folder":
            yield from _expand_folder(file.shown, container, own)
        elif container == AUTO and format_of(file.url) is None and not _names_suffix(pattern, file.url):
            # `faces/*` matches lists that lie beside the images; `*.csv` means lists.
            raise _unknown(file)
        elif file.kind == "broken" and not isinstance(container_for(file, container), LooseFiles):
            raise _broken(file.shown)
        else:
            yield file


def _expand(uri: str, container: str, own: OwnFiles) -> Iterator[StoredFile]:
    if is_folder(uri):
        yield from _expand_folder(uri, container, own)
        return
    file = stat(uri)
    if file is None:
        raise PlanError(
            f"{uri}: no such file or folder, or a link that leads nowhere. Check the name and your access to it."
        )
    yield file


def _expand_folder(uri: str, container: str, own: OwnFiles) -> Iterator[StoredFile]:
    """A folder of shards becomes its shards; any other folder is one image folder."""
    uri = uri.rstrip("/") or "/"
    folder = StoredFile(uri, absolute(uri), -1, "", "folder")
    _refuse_names_that_are_not_text(folder)
    kind = _folder_kind(uri, own) if container == AUTO else CONTAINERS[container]
    if isinstance(kind, LooseFiles):
        yield folder
        return
    passed_over = PassedOver()
    count = 0
    for file in walk_input(uri, own):
        if kind.recognises(os.fsdecode(file.path)):
            yield _shard(uri, file)
            count += 1
        elif not kind.is_companion(os.fsdecode(file.path)):
            passed_over.add(file.path)
    if container == AUTO and passed_over.others:
        raise several_formats(uri, {kind.name: counted(count, "file")} | passed_over.others)
    passed_over.log(uri)
    if not count:
        suffixes = " or ".join(kind.suffixes)
        raise PlanError(f"{uri}: the folder holds no {suffixes} files, expected of --format {kind.name}.")


def _shard(folder: str, file: Listed) -> StoredFile:
    name = os.fsdecode(file.path)
    if file.version:
        return StoredFile(join(folder, name), join(absolute(folder), name), file.size, file.version)
    found = stat(join(folder, name))
    if found is None:
        raise _broken(join(folder, name))
    return found


def _folder_kind(uri: str, own: OwnFiles) -> Container:
    kinds: dict[str, str] = {}
    for number, file in enumerate(walk_input(uri, own)):
        name = file.path.decode("utf-8", "backslashreplace")
        kind = format_of(name)
        if kind:
            kinds.setdefault(kind, name)
        if number >= _LOOK_AT:
            break
    for kind, name in list(kinds.items()):
        if any(CONTAINERS[other].is_companion(name) for other in kinds if other != kind):
            del kinds[kind]
    if len(kinds) > 1:
        raise several_formats(uri, kinds)
    return next((CONTAINERS[kind] for kind in kinds), loose_files())


def container_for(file: StoredFile, container: str) -> Container:
    """The format of a shard or an image file: the one that the user names, else by the file's name.

    Raises:
        PlanError: no format is known by such a name.
    """
    kind = container if container != AUTO else named_format_of(file.url)
    if kind is None:
        raise _unknown(file)
    return CONTAINERS[kind]


def _unknown(file: StoredFile) -> PlanError:
    return PlanError(f"{file.shown}: not a known kind of shard.{what_instead([file.shown])}")


def _names_suffix(pattern: str, name: str) -> bool:
    """Whether a pattern ends in the suffix of the file that it matched."""
    return pattern.lower().endswith("." + suffix(without_query(name)))


def _loose(container: str) -> LooseFiles:
    """The format of a folder of single files."""
    named = CONTAINERS.get(container)
    return named if isinstance(named, LooseFiles) else loose_files()


def _home(file: StoredFile, base: str, folders: dict[str, StoredFile]) -> StoredFile:
    """The folder that a named image file is planned with."""
    for above in _above(file.url):
        if above in folders:
            return folders[above]
    folder = base or file.shown.rpartition("/")[0] or ("/" if file.shown.startswith("/") else ".")
    return StoredFile(folder, absolute(folder), -1, "", "folder")


def _reached_from_above(url: str, folders: dict[str, StoredFile]) -> bool:
    """Whether walking another of the folders reaches this one (hidden folders are not entered)."""
    return any(above in folders and "/." not in url.removeprefix(above.rstrip("/")) for above in _above(url))


def _above(url: str) -> Iterator[str]:
    place = url.rstrip("/")
    while "/" in place and not place.endswith(":/"):
        place = place.rpartition("/")[0]
        yield place or "/"


def _broken(name: str) -> PlanError:
    return PlanError(
        f"{name}: expected a shard, but no file is behind it: a link that leads nowhere? Mend or remove it."
    )


def _refuse_names_that_are_not_text(file: StoredFile) -> None:
    for name in (file.shown, file.url):
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            raise PlanError(
                f"{shown}: this name is not valid UTF-8, and the table holds names of shards and folders as text. "
                "Rename it, or name a link to it (ln -s). Files inside an image folder may have any names."
            ) from None
