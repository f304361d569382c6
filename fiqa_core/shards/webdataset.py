"""WebDataset: tar shards in which the files of one sample share a key and lie next to each other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from fiqa_core.shards.names import is_image, is_litter, is_safe, suffix
from fiqa_core.shards.tar import FOLDER, LINK, REGULAR, Member, TarDamagedError, members, open_tar
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, open_read
from schemas.reasons import Status

# Samples are a handful of files; one that never ends is handed on in parts so that memory stays bounded.
_MAX_SAMPLE_MEMBERS = 256
_MAX_SAMPLE_BYTES = 128 << 20
_MAX_SIDECAR_BYTES = 1 << 20
_MAX_LABEL_CHARACTERS = 1024

LABEL_FIELDS = ("label", "identity", "cls", "class", "id", "subject", "person_id", "subject_id")


@dataclass
class _Sample:
    key: str = ""
    images: list[Member] = field(default_factory=list)
    sidecars: dict[str, bytes] = field(default_factory=dict)
    others: int = 0
    size: int = 0

    def add(self, member: Member) -> None:
        self.size += member.size
        if is_image(member.name) and member.kind != FOLDER:
            self.images.append(member)
        elif member.kind == REGULAR and member.data is not None and member.size <= _MAX_SIDECAR_BYTES:
            self.sidecars[_tidy(member.name)] = member.data
        else:
            self.others += 1

    def full(self) -> bool:
        count = len(self.images) + len(self.sidecars) + self.others
        return count >= _MAX_SAMPLE_MEMBERS or self.size >= _MAX_SAMPLE_BYTES


class WebDataset:
    """A tar is one unit; a record is one image member, its key is the member's name without the suffix."""

    name = "webdataset"
    suffixes: tuple[str, ...] = (".tar", ".tar.gz", ".tgz")

    def plan(self, file: StoredFile, unit_size: int) -> Iterator[Unit]:  # noqa: ARG002
        """One unit: a tar has no index, so its parts cannot be found without reading it."""
        yield Unit(0, self.name, file.shown, file.url, 0, 0, 0, -1, file.size, file.version)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record for each image member; one for a sample without any image; one for a lost rest."""
        index = 0
        sample = _Sample()
        try:
            with open_read(unit.url, unit.version) as stream:
                for member in members(open_tar(stream), settings.max_stored_bytes):
                    if member.kind == FOLDER or is_litter(member.name):
                        continue
                    key = sample_key(member.name)
                    if key != sample.key or sample.full():
                        yield from (records := _records(sample, index, settings))
                        index += len(records)
                        sample = _Sample(key)
                    sample.add(member)
        except TarDamagedError as error:
            # The sample at the break is handed on as far as it came: its image may be whole.
            yield from (records := _records(sample, index, settings))
            status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
            yield Record(None, index + len(records), None, None, Fault(status, str(error)))
            return
        yield from _records(sample, index, settings)


def sample_key(name: str) -> str:
    """The WebDataset key: the member's path up to the first dot of its base name."""
    folder, slash, base = _tidy(name).rpartition("/")
    return folder + slash + base.partition(".")[0]


def _tidy(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _records(sample: _Sample, first_index: int, settings: ReadSettings) -> list[Record]:
    records = [_record(sample, image, first_index + i, settings) for i, image in enumerate(sample.images)]
    if not records and (sample.sidecars or sample.others):
        label, _ = _label(sample, sample.key, settings)
        found = ", ".join(sorted(sample.sidecars)) or "no regular file"
        fault = Fault(Status.MISSING_IMAGE, f"the sample holds no image, only: {found[:300]}")
        records = [Record(sample.key, first_index, label, None, fault)]
    return records


def _record(sample: _Sample, image: Member, index: int, settings: ReadSettings) -> Record:
    name = _tidy(image.name)
    key = name[: -len(suffix(name)) - 1]
    label, note = _label(sample, key, settings)
    fault = None
    if not is_safe(image.name):
        fault = Fault(Status.UNSAFE_NAME, f"member {image.name!r} points out of the archive; rename it")
    elif image.kind == LINK:
        fault = Fault(Status.UNREADABLE, f"member is a link to {image.link!r}, not a stored image")
    elif image.kind != REGULAR:
        fault = Fault(Status.UNREADABLE, f"member is a {image.kind}, not a stored image")
    elif image.data is None:
        fault = Fault(Status.TOO_LARGE, f"{image.size} stored bytes; the limit is {settings.max_stored_bytes}")
    return Record(key, index, label, image.data, fault, image.sha256, note)


def _label(sample: _Sample, key: str, settings: ReadSettings) -> tuple[str | None, str | None]:
    """Label and note: `.cls` before `.json` before `.txt`; a `label_field` looks into `.json` only."""
    note = None
    if not sample.sidecars:
        return None, None
    for kind in ("json",) if settings.label_field else ("cls", "json", "txt"):
        data = sample.sidecars.get(f"{key}.{kind}", sample.sidecars.get(f"{sample.key}.{kind}"))
        if data is None:
            continue
        try:
            text = data.decode("utf-8").strip()
            label = json_label(text, settings.label_field) if kind == "json" else text
        except ValueError as error:
            note = f"label sidecar .{kind} is not readable: {error}"
            continue
        if label is not None:
            return label[:_MAX_LABEL_CHARACTERS], None
    return None, note


def json_label(text: str, label_field: str) -> str | None:
    """The label in a JSON sidecar: the named field, else the first of `LABEL_FIELDS`, else a bare value."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if isinstance(value, dict):
        names = (label_field,) if label_field else LABEL_FIELDS
        value = next((value[name] for name in names if value.get(name) is not None), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)
