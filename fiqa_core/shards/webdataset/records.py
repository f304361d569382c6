"""From a WebDataset sample to its records: key, image or fault, and the label out of its sidecar files."""

from fiqa_core.shards.label_text import Found, json_label, sidecar_text, trimmed, whole_number
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, is_safe, printable, shortened
from fiqa_core.shards.tar.stream import LINK, REGULAR, Member
from fiqa_core.shards.unit import Fault, ReadSettings, Record
from fiqa_core.shards.webdataset.sample import Sample
from schemas.reasons import Status

OVERLONG = "file with an overlong name"

_MAX_LINK_CHARACTERS = 300
_NO_LABEL = Found(None)
_SOURCES = {"cls": ".cls", "txt": ".txt"}
_DAMAGE_NEARBY = "bytes of the archive beside this sample are lost: files of it may be among them"


def count_of(sample: Sample) -> int:
    """Number of a sample's records."""
    # One without an image is a record too; not if nothing is in it, or the last files of one whose images were handed
    # on.
    return len(sample.images) or int(bool(sample.names) and not sample.continued)


def records_of(sample: Sample, first_index: int, settings: ReadSettings) -> list[Record]:
    """The records of a sample: one for each image, or one with the reason where there is none."""
    if not count_of(sample):
        return []
    if sample.images:
        return [
            _record(sample, root, name, image, first_index + place, settings)
            for place, (root, name, image) in enumerate(sample.images)
        ]
    label, origin, _ = _label(sample, sample.key, settings)
    found = ", ".join(sorted(sample.sidecars)) or "no regular file"
    fault = Fault(Status.MISSING_IMAGE, f"the sample holds no image, only: {printable(found[:300])}")
    return [Record(printable(sample.key), first_index, label, None, fault, label_from=origin)]


def _record(sample: Sample, root: str, name: str, image: Member, index: int, settings: ReadSettings) -> Record:
    label, origin, note = _label(sample, root, settings) if sample.sidecars else _NO_LABEL
    if sample.damaged and note is None and (label is None or len(sample.images) == 1):
        note = _DAMAGE_NEARBY
    key = printable(root)
    if image.kind is REGULAR and image.data is not None and is_safe(image.name):
        return Record(key, index, label, image.data, None, None, note, origin)
    shown = repr(printable(name))
    if image.kind == OVERLONG:
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


def _label(sample: Sample, key: str, settings: ReadSettings) -> Found:
    """The label: `.cls` before `.json` before `.txt`; a `label_field` looks into `.json` only."""
    note, looks_like = None, ""
    for kind in ("json",) if settings.label_field else ("cls", "json", "txt"):
        data = sample.sidecar(key, kind)
        if data is None:
            continue
        try:
            text = trimmed(sidecar_text(data))
            if kind == "json":
                label, source, why = json_label(text, settings.label_field)
            else:
                label, source, why = whole_number(text) or None, _SOURCES[kind], None
        except ValueError as error:
            note = f"label sidecar .{kind} is not readable: {error}"
            continue
        if label is not None:
            return Found(printable(shortened(label, MAX_LABEL_CHARACTERS)), source)
        note = why or note
        looks_like = looks_like or (source if kind == "json" else "")
    return Found(None, looks_like, note)
