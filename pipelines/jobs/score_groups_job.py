"""`fiqa score --group-by`: the summary of a finished run gets how scores fall in each group."""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.score_groups import score_groups
from fiqa_core.runs.layout import QUALITY, SEAL, SUMMARY, sealed
from fiqa_core.tables.attached_labels import ColumnOptions, read_label_list
from fiqa_core.tables.groups import read_groups
from fiqa_core.tables.quality_files import find_parts
from fiqa_core.wording import counted, visible
from schemas.quality import COLUMNS, MEASURES

_MOST_GROUPS = 24


def check_groups_given(arguments: argparse.Namespace) -> None:
    """Refuse a file of groups that cannot be read, before hours of scoring.

    Raises:
        TableError: it says what is wrong with the file. FileNotFoundError: no such file.
    """
    given = getattr(arguments, "group_by", None)
    if given and given not in {*COLUMNS, *MEASURES}:
        read_label_list(
            given, arguments.group_key, arguments.group_column, ColumnOptions("--group-key", "--group-column")
        )


def add_groups(output: str, arguments: argparse.Namespace, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with `groups`, which is published too; unchanged without --group-by or without a table.

    Raises:
        TableError: a column that is not there, or a file of other keys.
    """
    given = getattr(arguments, "group_by", None)
    if not given or not storage.list_names(storage.join(output, QUALITY)):
        return summary
    parts = find_parts([output])
    groups = read_groups(given, parts, arguments.group_key, arguments.group_column)
    with tempfile.TemporaryDirectory(prefix="fiqa-groups-") as folder:
        found = summary | {"groups": score_groups(parts, groups, Path(folder))}
    found.pop(SEAL, None)
    storage.publish_bytes(sealed(found), output, storage.join(output, SUMMARY))
    return found


def group_lines(summary: Mapping[str, Any]) -> list[str]:
    """How scores fall in each group, those of lowest median first."""
    found = summary.get("groups")
    if found is None:
        return []
    lines = [f"by {found['by']}:{'records':>28}{'scored':>10}{'5 %':>10}{'median':>10}{'95 %':>10}"]
    ordered = sorted(found["groups"].items(), key=lambda item: (_median(item[1]), item[0]))
    for name, group in ordered[:_MOST_GROUPS]:
        values = "".join(f"{value:>10.4g}" for value in (group["quality_quantiles"] or {}).values())
        lines.append(f"  {visible(name):<24}{group['records']:>12,}{group['scored']:>10,}{values}")
    if len(ordered) > _MOST_GROUPS:
        lines.append(f"  ... and {counted(len(ordered) - _MOST_GROUPS, 'more group')} in summary.json")
    return lines


def _median(group: Mapping[str, Any]) -> float:
    quantiles = group["quality_quantiles"]
    return float("inf") if quantiles is None else float(quantiles["0.5"])
