"""The output folder of an atlas: `atlas.parquet` and `summary.json`, both or nothing that looks whole."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.runs.differences import as_written, changed, flat, refuse_differences
from fiqa_core.runs.folder import RunKind, clear, earlier_run, prepare
from fiqa_core.runs.layout import ATLAS, LOCK, RUN, SUMMARY, TEMPORARIES, parse_atlas_run, sealed, unsealed
from fiqa_core.tables.footers import footer_digest


def _nothing_finished(output: str) -> bool:
    return not {SUMMARY, ATLAS} & set(storage.list_names(output))


ATLAS_RUN = RunKind(
    "an atlas run",
    "files",
    RUN,
    parse_atlas_run,
    before=frozenset({LOCK, TEMPORARIES}),
    own=frozenset({RUN, SUMMARY, LOCK, TEMPORARIES, ATLAS}),
    below={TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+")},
    swept=(TEMPORARIES,),
    cleared=(SUMMARY, ATLAS),
    nothing_finished=_nothing_finished,
)


def prepare_output(output: str, resume: bool, overwrite: bool) -> None:
    """Check that an output may be written to (`fiqa_core.runs.folder.prepare`)."""
    prepare(output, ATLAS_RUN, resume, overwrite)


def begin(output: str, run: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Write down what this run is (`run`: all that decides its result); before that clear an earlier one (`overwrite`)
    or make sure that it is the same.

    Returns the summary of an earlier run that left nothing to do.

    Raises:
        OutputError: other settings or tables, with the differences named.
    """
    run = as_written(run)
    if overwrite:
        clear(output, ATLAS_RUN)
    elif (earlier := earlier_run(output, ATLAS_RUN)) is not None:
        refuse_differences(output, changed(flat(earlier), flat(run)))
        if (finished := _finished(output)) is not None:
            return finished
    storage.remove(storage.join(output, SUMMARY))  # it says "finished", which this run is not yet
    storage.publish_bytes(json.dumps(run, indent=1).encode(), output, storage.join(output, RUN))
    return None


def finish(output: str, path: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Put the file in place, then `summary.json`, whose presence means that all is there. Returns the summary."""
    place = storage.join(output, ATLAS)
    storage.publish(path, place)
    whole = {**summary, "complete": True, "file_digest": footer_digest(place)}
    storage.publish_bytes(sealed(whole), output, storage.join(output, SUMMARY))
    storage.sweep(output)
    return whole


def _finished(output: str) -> dict[str, Any] | None:
    summary = unsealed(storage.join(output, SUMMARY))
    if summary is None or ATLAS not in storage.list_names(output):
        return None
    return summary if footer_digest(storage.join(output, ATLAS)) == summary.get("file_digest") else None
