"""What can be known of the labels before the records are read: a field that is not there, and names of classes."""

import json
import logging
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.formats import PlanError, container_of
from fiqa_core.shards.parquet.groups import FOOTER_BLOCK
from fiqa_core.shards.parquet.labels import find_label
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import StorageError, join, open_read, publish_bytes
from fiqa_core.wording import counted

CLASS_LABELS = "class_labels.json"

_log = logging.getLogger(__name__)
_WITHOUT_FIELDS = {"folder": "the folder names", "recordio": "the records' own labels"}
_SHARDS = 8
_RECORDS = 64  # of each shard
_BYTES = 16 << 20


def check_label_field(units: Sequence[Unit], read: ReadSettings) -> None:
    """Refuse a `--label-field` that cannot be there; warn of one that the first records do not have.

    Image folders and RecordIO have no fields. Of tars the first 64 records of at most 8 shards are looked at: only
    where that is the whole dataset, it is certain. (Parquet shards are looked at one by one when they are planned.)

    Raises:
        PlanError: the field cannot be in any record.
    """
    if not read.label_field:
        return
    for unit in units:
        if unit.container in _WITHOUT_FIELDS:
            raise PlanError(
                f"{unit.shard}: --label-field {read.label_field!r} names a Parquet column or a field of JSON sidecars, "
                f"but the format {unit.container} has none: its labels are {_WITHOUT_FIELDS[unit.container]}. Leave "
                "the option out."
            )
    tars = [unit for unit in units if unit.container == "webdataset"]
    if not tars or len(tars) < len(units):
        return
    chosen = tars[:: -(-len(tars) // _SHARDS)]
    whole = len(chosen) == len(tars)
    records, others = 0, ""
    for unit in chosen:
        seen, found, looks_like, ended = _look_at(unit, read)
        if found:
            return
        records, others, whole = records + seen, others or looks_like, whole and ended
    text = (
        f"--label-field {read.label_field!r}: not in the JSON sidecar of any of {counted(records, 'record')} looked at "
        f"({chosen[0].shard}{' ...' if len(tars) > 1 else ''}). Fields that look like a label: {others or 'none'}."
    )
    if whole and records:
        raise PlanError(f"{text} Name one of these, or leave the option out.")
    _log.warning("%s If no record has it, the run will end with an error.", text)


def write_class_labels(units: Sequence[Unit], read: ReadSettings, workspace: str) -> tuple[str, ...]:
    """Write down the numbers of a ClassLabel column's names (a row has the name); names of files written.

    The file is `class_labels.json` in the workspace: {"column": name, "names": [name of class 0, of class 1, ...]}.
    """
    unit = next((unit for unit in units if unit.container == "parquet" and unit.records > 0), None)
    if unit is None:
        return ()
    try:
        with open_read(unit.url, "", FOOTER_BLOCK) as stream:
            label = find_label(pq.ParquetFile(stream).schema_arrow, read.label_field, read.image_field, unit.url)
    except StorageError:
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, KeyError):
        return ()  # its reading will say so
    if label.classes is None:
        return ()
    content = json.dumps({"column": label.column, "names": label.classes}, ensure_ascii=False, indent=0)
    publish_bytes(content.encode("utf-8", "backslashreplace"), workspace, join(workspace, CLASS_LABELS))
    return (CLASS_LABELS,)


def _look_at(unit: Unit, read: ReadSettings) -> tuple[int, bool, str, bool]:
    """Records looked at, whether one has the label, fields that look like one, and whether those were all."""
    seen = size = 0
    others = ""
    try:
        for record in container_of(unit).read(unit, read):
            if record.label is not None:
                return seen, True, "", False
            seen += record.key is not None
            size += len(record.data or b"")
            others = others or record.label_from
            if record.key is None or seen >= _RECORDS or size >= _BYTES:
                return seen, False, others, False
    except OSError:
        return seen, False, others, False  # its reading will say so
    return seen, False, others, True
