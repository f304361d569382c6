"""What planning knows of the labels: whether the named field exists, and the names of numbered classes."""

import json
import logging
from collections.abc import Sequence

from fiqa_core.shards.formats import CONTAINERS, PlanError, container_of
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import join, publish_bytes
from fiqa_core.wording import counted

CLASS_LABELS = "class_labels.json"

_log = logging.getLogger(__name__)
_SHARDS = 8
_RECORDS = 64  # of each shard
_BYTES = 16 << 20


def check_label_field(units: Sequence[Unit], read: ReadSettings) -> None:
    """Refuse a `--label-field` that cannot exist; warn of one that the first records do not have.

    Some formats have no fields (image folders, RecordIO). Where only records show their fields (tars), the first 64
    records of at most 8 shards are read: only if that is the whole dataset, the answer is certain. Other formats see
    their fields when each shard is planned.

    Raises:
        PlanError: the field cannot be in any record.
    """
    if not read.label_field:
        return
    for unit in units:
        source = container_of(unit).label_source
        if source:
            raise PlanError(
                f"{unit.shard}: --label-field {read.label_field!r} names a Parquet column, a TFRecord feature or "
                f"a field of JSON sidecars, but the format {unit.container} has none: its labels are {source}. Leave "
                "the option out."
            )
    if not units or not all(container_of(unit).fields_in_records for unit in units):
        return
    chosen = units[:: -(-len(units) // _SHARDS)]
    whole = len(chosen) == len(units)
    records, others = 0, ""
    for unit in chosen:
        seen, found, looks_like, ended = _look_at(unit, read)
        if found:
            return
        records, others, whole = records + seen, others or looks_like, whole and ended
    text = (
        f"--label-field {read.label_field!r}: not in any of {counted(records, 'record')} looked at "
        f"({chosen[0].shard}{' ...' if len(units) > 1 else ''}). Fields that look like a label: {others or 'none'}."
    )
    if whole and records:
        raise PlanError(f"{text} Name one of these, or leave the option out.")
    _log.warning("%s If no record has it, the run will end with an error.", text)


def check_key_field(units: Sequence[Unit], read: ReadSettings) -> None:
    """Refuse a `--key-field` for a format whose records have no such fields.

    Raises:
        PlanError: it names the shard and the format.
    """
    unfit = next((unit for unit in units if not container_of(unit).has_key_field), None) if read.key_field else None
    if unfit is not None:
        raise PlanError(
            f"{unfit.shard}: --key-field {read.key_field!r} names a Parquet column or a TFRecord feature, but in the "
            f"format {unfit.container} keys are names of their own. Leave the option out."
        )


def write_class_names(units: Sequence[Unit], read: ReadSettings, workspace: str) -> tuple[str, ...]:
    """Write the names of labels that shards store as numbers (table rows have the names); returns the files written.

    The file is `class_labels.json` in the workspace: {"column": name, "names": [name of class 0, of class 1, ...]}.
    """
    for name in dict.fromkeys(unit.container for unit in units):
        found = CONTAINERS[name].class_names([unit for unit in units if unit.container == name], read)
        if found is not None:
            column, names = found
            content = json.dumps({"column": column, "names": names}, ensure_ascii=False, indent=0)
            publish_bytes(content.encode("utf-8", "backslashreplace"), workspace, join(workspace, CLASS_LABELS))
            return (CLASS_LABELS,)
    return ()


def _look_at(unit: Unit, read: ReadSettings) -> tuple[int, bool, str, bool]:
    """Number of records read, whether one has the label, fields that look like one, and whether these were all."""
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
        return seen, False, others, False  # reading the unit will report it
    return seen, False, others, True
