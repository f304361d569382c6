"""What clean_dataset prints: its stages, the account before images are written, and what comes next."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.recipe.clean_run import DECIDED, REPORT
from fiqa_core.curation.recipe.further_rules import Kept, Taken
from fiqa_core.curation.recipe.recipe_file import RECIPE
from fiqa_core.curation.recipe.sections import NO_IMAGES, Recipe
from fiqa_core.curation.subset.settings import DATA, SUBSET
from fiqa_core.wording import counted
from pipelines.cli.log_format import report
from pipelines.cli.program import called

_OF_SCORING = ("scored",)


def print_account(
    scores: Mapping[str, Any], kept: Kept, taken: Sequence[Taken], needed: int | None, free: int | None, output: str
) -> None:
    """Print what stands beside the account of the decisions: records, identities, further rules, and room."""
    lines = [f"{counted(scores['records'], 'record')} read: {scores['status'].get('scored', 0):,} scored"]
    lines += [
        f"  {name:<24}{count:>12,}" for name, count in scores["status"].items() if name not in _OF_SCORING and count
    ]
    if kept.identities_whole or kept.identities_in_part or kept.identities_gone:
        lines.append(
            f"identities: {kept.identities_whole:,} kept whole, {kept.identities_in_part:,} lose images, "
            f"{kept.identities_gone:,} go as a whole"
        )
    if taken:
        lines.append("what each further rule would take, alone (nothing of it goes now):")
    for each in taken:
        whole = f", {each.whole:,} as a whole" if each.whole else ""
        of = f"{counted(each.images, 'image')} of {counted(each.identities, 'identity', 'identities')}{whole}"
        lines += [f"  {each.name:<44} {of}", f"      where {each.meaning}"]
    if needed is not None:
        room = "" if free is None else f"; free in {output}: {_size(free)}"
        lines.append(f"room on disk for the images: about {_size(needed)}{room}")
    report(lines)
    sys.stdout.flush()


def no_room(needed: int, free: int, output: str) -> str:
    """The error where the images do not fit."""
    return (
        f"{output}: the images need about {_size(needed)}, and {_size(free)} are free. No image was written. Make room "
        "and run the same command again, or write less: a stricter policy, or `write: none`"
    )


def question(images: int, what: str, replaced: bool) -> str:
    """The question before images are written."""
    instead = " in place of the images of an earlier recipe" if replaced else ""
    return f"write {counted(images, 'image')} {what}{instead}? [y/N] "


def unanswered_lines(recipe: Recipe, output: str) -> list[str]:
    """What to do where nobody said yes."""
    look = f"look at {storage.join(output, REPORT)}, " if recipe.report.make else ""
    place = shlex.quote(storage.join(output, RECIPE))
    return [
        "no image was written: there was no yes (--yes goes without the question)",
        f"next: {look}edit {place} if you want other rules, then: {called('clean_dataset')} --recipe {place} --yes",
    ]


def next_line(recipe: Recipe, output: str, kept: int, complete: bool) -> str:
    """What to do next after everything is done."""
    place = shlex.quote(storage.join(output, RECIPE))
    if not complete:
        return f"next: fix what is named above, then: {called('clean_dataset')} --recipe {place}"
    if not kept:
        return f"nothing is kept: see {storage.join(output, DECIDED, 'removed.csv')} for why"
    if storage.in_this_process_only(output):
        return "what was written is in the memory of this process, and lost when it ends"
    seen = storage.join(output, REPORT) if recipe.report.make else storage.join(output, DECIDED, "removed.csv")
    again = f"other rules: edit {place}, then {called('clean_dataset')} --recipe {place}"
    if recipe.subset.write == NO_IMAGES:
        return f"next: look at {seen}; {again}"
    return f"next: train on {storage.join(output, SUBSET, DATA)}; look at {seen}; {again}"


def _size(number: int) -> str:
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return counted(number, "byte")
