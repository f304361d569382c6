"""What the commands that write a table log about the labels they found."""

import logging
from collections.abc import Mapping
from typing import Any

from fiqa_core.wording import counted

_FEW = 50  # records of which one label may have more than half
_ALL_DIFFERENT = 10


def log_labels(log: logging.Logger, labels: Mapping[str, Any]) -> None:
    """Log how many identities there are and where they come from; warn if that is hardly what was meant."""
    with_label, without = labels["records_with"], labels["records_without"]
    looks_like = list(labels["looks_like_a_label"])
    if not with_label:
        if without:
            hint = f"; columns that look like one: {looks_like[0]} (give it by --label-field)" if looks_like else ""
            log.warning("no labels found%s", hint)
        return
    about = "" if labels["identities_exact"] else "about "
    sources = ", ".join(_source(name, count, labels) for name, count in labels["sources"].items()) or "an earlier run"
    missing = f"; {counted(without, 'record')} without" if without else ""
    identities = counted(labels["identities"], "identity", "identities")
    log.info("labels: %s%s from %s%s", about, identities, sources, missing)
    if len(labels["sources"]) > 1:
        log.warning("labels come from several places, which may have different names for one person: %s", sources)
    for warning in _warnings(labels):
        log.warning("%s", warning)


def label_problem(labels: Mapping[str, Any], label_field: str) -> str | None:
    """The error if no record has the label field that was named; else None."""
    if not label_field or labels["records_with"] or not labels["records_without"]:
        return None
    looks_like = next(iter(labels["looks_like_a_label"]), "none")
    return (
        f"--label-field {label_field!r}: none of {counted(labels['records_without'], 'record')} has a value "
        f"there, so no row has a label. Fields that look like one: {looks_like}. "
        "Score again with one of these, or without the option."
    )


def _source(name: str, count: int, labels: Mapping[str, Any]) -> str:
    return name if len(labels["sources"]) == 1 else f"{name} ({count:,})"


def _warnings(labels: Mapping[str, Any]) -> list[str]:
    found = []
    most, total = labels["most_common"], labels["records_with"]
    by_path = any(name.startswith("folder names") for name in labels["sources"])
    if by_path and total >= _FEW and 2 * most["records"] > total:
        name = f"the label {most['label']!r}" if most["label"] is not None else "one label"
        found.append(
            f"{name} has {most['records']:,} of {total:,} records: is that folder an identity? Labels are the "
            "folders' names: give the folder above the identities as --input, or drop the labels"
        )
    if labels["identities"] == total >= _ALL_DIFFERENT:
        found.append(
            f"each of the {total:,} records has its own label: does it name people? Labels come from "
            f"{', '.join(labels['sources']) or 'an earlier run'}; give another field by --label-field"
        )
    return found
