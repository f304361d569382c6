"""WebDataset: tar shards in which the files of one sample share a key and lie next to each other."""

import logging
from collections.abc import Iterator
from typing import IO

from fiqa_core.shards.label_text import Found, json_label, sidecar_text
from fiqa_core.shards.names import (
    IMAGE_SUFFIXES,
    MAX_LABEL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    is_litter,
    is_safe,
    printable,
    shortened,
)
from fiqa_core.shards.tar import FOLDER, LINK, REGULAR, Member, TarDamagedError, members, open_tar
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, open_read
from schemas.reasons import Status

_log = logging.getLogger(__name__)

# Samples are a handful of files; one that never ends is handed on in parts so that memory stays bounded.
_MAX_SAMPLE_MEMBERS = 256
_MAX_SAMPLE_BYTES = 128 << 20
_MAX_SIDECAR_BYTES = 1 << 20
_MAX_LINK_CHARACTERS = 300
_KEYS_COMPARED = 1000  # incomplete samples of a shard that are remembered, to see files that lie apart

_NO_LABEL = Found(None)
_OVERLONG = "file with an overlong name"


class _Sample:
    """The members of one key so far: images as (name without suffix, name, member), sidecars by name."""

    __slots__ = ("count", "images", "key", "limit", "sidecars", "size")

    def __init__(self, key: str, limit: int = _MAX_SIDECAR_BYTES) -> None:
        self.key = key
        self.limit = limit
        self.images: list[tuple[str, str, Member]] = []
        self.sidecars: dict[str, bytes] = {}
        self.count = 0
        self.size = 0

    def add(self, name: str, member: Member) -> None:
        self.count += 1
        self.size += member.size
        root, dot, extension = name.rpartition(".")
        lower = extension.lower()
        if dot and lower in IMAGE_SUFFIXES:
            self.images.append((root, name, member))
        elif member.data is not None and member.size <= self.limit:
            self.sidecars[name if lower == extension else f"{root}.{lower}"] = member.data

    def full(self) -> bool:
        return self.count >= _MAX_SAMPLE_MEMBERS or self.size >= _MAX_SAMPLE_BYTES


class WebDataset:
    """A tar is one unit; a record is one image member, its key is the member's name without the suffix."""

    name = "webdataset"
    suffixes: tuple[str, ...] = (".tar", ".tar.gz", ".tgz")

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """One unit: a tar has no index, so its parts cannot be found without reading it."""
        yield Unit(0, self.name, file.shown, file.url, 0, 0, 0, -1, file.size, file.version)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each image member; one for a sample without any image; one for a lost rest."""
        index = 0
        apart = _Apart(unit.shard)
        try:
            with open_read(unit.url, unit.version) as stream:
                for sample in _samples(stream, settings.max_stored_bytes):
                    records = _records(sample, index, settings)
                    index += len(records)
                    if not (sample.images and sample.sidecars):
                        apart.see(sample)
                    yield from records
        except TarDamagedError as error:
            status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
            yield Record(None, index, None, None, Fault(status, str(error)))


def read_samples(unit: Unit, settings: ReadSettings) -> Iterator[tuple[Record, dict[str, bytes]]]:
    """As `WebDataset.read`, with the other files of each image's sample, whole, by their suffix (lower case).

    A file that is named after another image of the sample (`a.left.json` beside `a.right.jpg`) is not among them.
    """
    index = 0
    try:
        with open_read(unit.url, unit.version) as stream:
            for sample in _samples(stream, settings.max_stored_bytes, settings.max_stored_bytes):
                records = _records(sample, index, settings)
                for place, record in enumerate(records):
                    yield record, _others(sample, sample.images[place][0]) if sample.images else {}
                index += len(records)
    except TarDamagedError as error:
        status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
        yield Record(None, index, None, None, Fault(status, str(error))), {}


def _others(sample: _Sample, root: str) -> dict[str, bytes]:
    skip = len(sample.key) + 1
    if root == sample.key and len(sample.images) == 1:
        return {name[skip:]: data for name, data in sample.sidecars.items()}
    roots = {image[0] for image in sample.images} - {root, sample.key}
    found = {
        name[skip:]: data for name, data in sample.sidecars.items() if not any(name.startswith(f"{r}.") for r in roots)
    }
    own = {name[len(root) + 1 :]: data for name, data in sample.sidecars.items() if name.startswith(f"{root}.")}
    for name in sample.sidecars:
        if name.startswith(f"{root}.") and root != sample.key:
            found.pop(name[skip:], None)
    return found | own


def _samples(stream: IO[bytes], max_bytes: int, sidecar_bytes: int = _MAX_SIDECAR_BYTES) -> Iterator[_Sample]:
    """Runs of members with the same key. A damaged archive raises after the sample at the break, as far as it
    came: its image may be whole."""
    sample = _Sample("", sidecar_bytes)
    damage: TarDamagedError | None = None
    try:
        for member in members(open_tar(stream), max_bytes):
            name = member.name
            if member.kind is FOLDER:
                continue
            if name[:2] == "./":
                name = _tidy(name)
            if len(name) > MAX_NAME_CHARACTERS:
                name = _short_name(name)
                member = member._replace(name=name, kind=_OVERLONG)
            folder, slash, base = name.rpartition("/")
            stem = base.partition(".")[0]
            if not stem and is_litter(base):
                continue
            key = folder + slash + stem
            if key != sample.key or sample.full():
                if sample.count:
                    yield sample
                sample = _Sample(key, sidecar_bytes)
            sample.add(name, member)
    except TarDamagedError as error:
        damage = error
    if sample.count:
        yield sample
    if damage is not None:
        raise damage


class _Apart:
    """Looks out for samples whose files do not lie together, and warns once a shard."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._seen: dict[str, bool] = {}
        self._warned = False

    def see(self, sample: _Sample) -> None:
        """Take note of a sample that has images or other files, but not both."""
        has_images = bool(sample.images)
        if self._warned:
            return
        if self._seen.get(sample.key, has_images) == has_images:
            if len(self._seen) < _KEYS_COMPARED:
                self._seen[sample.key] = has_images
            return
        self._warned = True
        _log.warning(
            "%s: the files of sample %r (maybe of others) do not lie next to each other, so an image does not find "
            "its label, and its sidecar files count as a sample without an image. Write the shard again with the "
            "files of a sample side by side (tar --sort=name).",
            printable(self._shard),
            printable(sample.key),
        )


def _tidy(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _short_name(name: str) -> str:
    """A stand-in for a name too long to keep: files of one sample still share it, and keep their suffix."""
    folder, slash, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return shortened(folder + slash + stem, 256) + dot + rest[-64:]


def _records(sample: _Sample, first_index: int, settings: ReadSettings) -> list[Record]:
    if sample.images:
        return [
            _record(sample, root, name, image, first_index + place, settings)
            for place, (root, name, image) in enumerate(sample.images)
        ]
    label, origin, _ = _label(sample, sample.key, settings)
    found = ", ".join(sorted(sample.sidecars)) or "no regular file"
    fault = Fault(Status.MISSING_IMAGE, f"the sample holds no image, only: {printable(found[:300])}")
    return [Record(printable(sample.key), first_index, label, None, fault, label_from=origin)]


def _record(sample: _Sample, root: str, name: str, image: Member, index: int, settings: ReadSettings) -> Record:
    label, origin, note = _label(sample, root, settings) if sample.sidecars else _NO_LABEL
    key = printable(root)
    if image.kind is REGULAR and image.data is not None and is_safe(image.name):
        return Record(key, index, label, image.data, None, None, note, origin)
    shown = repr(printable(name))
    if image.kind == _OVERLONG:
        fault = Fault(
            Status.UNSAFE_NAME,
            f"the member's name is longer than {MAX_NAME_CHARACTERS} characters (the key is shortened); rename it",
        )
    elif not is_safe(image.name):
        fault = Fault(Status.UNSAFE_NAME, f"member {shown} points out of the archive; rename it")
    elif image.kind == LINK:
        target = repr(printable(shortened(image.link, _MAX_LINK_CHARACTERS)))
        fault = Fault(Status.UNREADABLE, f"member is a link to {target}, not a stored image")
    elif image.kind != REGULAR:
        fault = Fault(Status.UNREADABLE, f"member is a {image.kind}, not a stored image")
    else:
        fault = Fault(Status.TOO_LARGE, f"{image.size} stored bytes; the limit is {settings.max_stored_bytes}")
    return Record(key, index, label, image.data, fault, image.sha256, note, origin)


def _label(sample: _Sample, key: str, settings: ReadSettings) -> Found:
    """The label: `.cls` before `.json` before `.txt`; a `label_field` looks into `.json` only."""
    note, looks_like = None, ""
    for kind in ("json",) if settings.label_field else ("cls", "json", "txt"):
        data = sample.sidecars.get(f"{key}.{kind}")
        if data is None:
            data = sample.sidecars.get(f"{sample.key}.{kind}")
            if data is None:
                continue
        try:
            text = sidecar_text(data).strip()
            found = json_label(text, settings.label_field) if kind == "json" else Found(text or None, f".{kind}")
        except ValueError as error:
            note = f"label sidecar .{kind} is not readable: {error}"
            continue
        if found.label is not None:
            return Found(printable(shortened(found.label, MAX_LABEL_CHARACTERS)), found.source)
        note = found.note or note
        looks_like = looks_like or (found.source if kind == "json" else "")
    return Found(None, looks_like, note)
