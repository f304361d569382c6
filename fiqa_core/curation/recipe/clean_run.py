"""The output folder of a cleaning run: what lies where, whose input it is of, and the recipe beside the results."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from fiqa_core import storage
from fiqa_core.curation.dropped.settings import DROPPED, DROPPED_INDEX
from fiqa_core.curation.findings.search_result import FOLDER as FINDINGS
from fiqa_core.curation.findings.search_result import WORK as FINDINGS_WORK
from fiqa_core.curation.recipe.recipe_file import RECIPE, parse_recipe, to_yaml, without_secrets
from fiqa_core.curation.recipe.sections import Recipe
from fiqa_core.curation.subset.settings import SUBSET
from fiqa_core.runs.folder import OutputError, RunKind, earlier_run, prepare
from fiqa_core.runs.layout import (
    CLEAN_KIND,
    LOCK,
    PROGRESS,
    PROGRESS_NOTE,
    RUN,
    SUMMARY,
    TEMPORARIES,
    parse_clean_run,
    read_run_file,
)
from fiqa_core.settings.fields import SettingError
from schemas.versions import PACKAGE_VERSION

SCORES, EMBEDDINGS, DECIDED = "scores", "embeddings", "decided"
REPORT, FURTHER = "report.html", "further.json"


def _nothing_finished(output: str) -> bool:
    return storage.stat(storage.join(output, SCORES, RUN)) is None


CLEAN_RUN = RunKind(
    "a cleaning run",
    "stages",
    RUN,
    parse_clean_run,
    before=frozenset({LOCK, TEMPORARIES}),
    own=frozenset(
        {
            *(RUN, SUMMARY, LOCK, TEMPORARIES, PROGRESS, RECIPE, SCORES, EMBEDDINGS, DECIDED, REPORT, FURTHER),
            *(FINDINGS, FINDINGS_WORK, SUBSET, DROPPED, DROPPED_INDEX),
        }
    ),
    below={
        TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
        PROGRESS: PROGRESS_NOTE,
        FINDINGS_WORK: re.compile(r"[0-9a-f]{12}"),
    },
    swept=(TEMPORARIES, PROGRESS, FINDINGS_WORK),
    cleared=(),  # each stage removes its own
    nothing_finished=_nothing_finished,
)


def sweep_pages(output: str) -> None:
    """Remove what a command that was killed left of a page beside `report.html`; the caller holds the output."""
    if not storage.is_local(output):
        return
    for left in Path(storage.absolute(output)).glob(".fiqa-*"):
        is_ours = left.is_dir() and not left.is_symlink() and {path.name for path in left.iterdir()} <= {REPORT}
        if is_ours:
            shutil.rmtree(left, ignore_errors=True)


def recipe_in(output: str) -> str | None:
    """The recipe of the cleaning run in an output; None if there is none."""
    try:
        read_run_file(output, parse_clean_run)
    except (FileNotFoundError, ValueError):
        return None
    place = storage.join(output, RECIPE)
    return None if storage.stat(place) is None else place


def begin(output: str, inputs: Sequence[str]) -> None:
    """Write down what is cleaned here, or make sure that it is the same as before.

    Args:
        inputs: absolute, in order.

    Raises:
        OutputError: the output holds something else, or what was made of another input; both are named.
    """
    prepare(output, CLEAN_RUN, resume=True, overwrite=False)
    shown = [without_secrets(uri) for uri in inputs]
    earlier = earlier_run(output, CLEAN_RUN)
    if earlier is not None:
        if earlier["input"] != shown:
            raise OutputError.of_lines(
                [
                    f"{output}: holds what was made of another input:",
                    f"  then: {' '.join(earlier['input'])}",
                    f"  now:  {' '.join(shown)}",
                    "Choose another --output, or give the earlier input.",
                ]
            )
        return
    run = {"kind": CLEAN_KIND, "package_version": PACKAGE_VERSION, "input": shown}
    storage.publish_bytes(json.dumps(run, indent=1).encode(), output, storage.join(output, RUN))


def keep_recipe(output: str, recipe: Recipe) -> bool:
    """Write the recipe beside the results unless the file there says the same; whether it was written."""
    place = storage.join(output, RECIPE)
    text = to_yaml(recipe)
    if storage.stat(place) is not None:
        data = storage.read_bytes(place)
        try:
            if to_yaml(parse_recipe(data, place, {})) == text:
                return False
        except SettingError:
            pass  # what the options say was asked for
    storage.publish_bytes(text.encode(), output, place)
    return True
