"""The last stage of clean_dataset: the images, after a yes; an earlier recipe's images stay until then."""

import logging
import sys
from dataclasses import dataclass
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.decision_files import DECISIONS
from fiqa_core.curation.decisions.filter_run import Writing
from fiqa_core.curation.dropped.plan import check_dropped_source
from fiqa_core.curation.dropped.settings import DROPPED
from fiqa_core.curation.recipe.clean_run import DECIDED
from fiqa_core.curation.recipe.room import free_bytes, needed_bytes
from fiqa_core.curation.recipe.sections import NO_IMAGES, Recipe
from fiqa_core.curation.subset.plan import EarlierSubset, check_source, earlier_subset
from fiqa_core.curation.subset.settings import SUBSET, AnotherSubsetError, SubsetSettings
from fiqa_core.tables.quality_files import TableFile
from pipelines.cli.clean_report import no_room, print_account, question
from pipelines.cli.errors import OptionError
from pipelines.jobs import dropped_job, subset_job
from pipelines.jobs.clean_account import Looked
from pipelines.jobs.filter_job import refuse_two_kinds_of_labels
from pipelines.runners.beam_options import beam_options

_log = logging.getLogger("clean_dataset")


@dataclass(frozen=True)
class Planned:
    """What is to be written.

    Attributes:
        earlier: what of the kept images lies there; None: they are not asked for. dropped: images that go, which are
            written by reason if that is asked for. agreed: somebody said yes to exactly this before.
    """

    recipe: Recipe
    output: str
    looked: Looked
    earlier: EarlierSubset | None
    dropped: int
    agreed: bool

    @property
    def needs_yes(self) -> bool:
        """Whether images would be written that nobody agreed to."""
        if self.agreed:
            return False
        if self.earlier is not None and self.earlier.state in ("none", "other"):
            return bool(self.earlier.images or self.earlier.state == "other")
        return bool(self.recipe.subset.dropped and self.dropped)

    @property
    def is_new(self) -> bool:
        """Whether the images are not all there."""
        return self.needs_yes or (self.earlier is not None and self.earlier.state != "complete")


def check_writing(recipe: Recipe, parts: tuple[TableFile, ...]) -> None:
    """Refuse a format that cannot be written, before hours of other stages.

    Raises:
        SubsetError: it says why.
    """
    if recipe.subset.write != NO_IMAGES:
        check_source(parts, _settings(recipe))
    if recipe.subset.dropped:
        check_dropped_source(parts, ())


def plan_writing(recipe: Recipe, output: str, looked: Looked, dropped: int, agreed: bool) -> Planned:
    """What is to be written, compared with what lies there; nothing is written. Arguments as of `Planned`.

    Raises:
        SubsetError: the kept images cannot be written as asked. OptionError: labels of two kinds.
    """
    earlier = None
    if recipe.subset.write != NO_IMAGES:
        subset = recipe.subset
        writing = Writing(subset.write, subset.shard_size, subset.relabel, subset.recordio_layout)
        refuse_two_kinds_of_labels(looked.tables, recipe.policy, writing)
        decisions = storage.join(output, DECIDED, DECISIONS)
        earlier = earlier_subset(looked.tables.own, decisions, _settings(recipe), output)
    return Planned(recipe, output, looked, earlier, dropped, agreed)


def account(planned: Planned, scores: dict[str, Any], shown: str) -> None:
    """Print the account, after that of the decisions, and refuse what does not fit.

    Args:
        scores: summary of the scoring run. shown: the output as the user calls it.

    Raises:
        OptionError: the images do not fit on the disk.
    """
    subset = planned.recipe.subset
    kept = planned.looked.kept
    needed = needed_bytes(kept, planned.dropped, subset.write != NO_IMAGES, subset.dropped)
    free = free_bytes(planned.output)
    writes = planned.recipe.writes and planned.is_new
    print_account(scores, kept, planned.looked.taken, needed if writes else None, free, shown)
    # Of images that were begun, or that take the place of others, a part of the room is taken already.
    is_fresh = planned.earlier is None or planned.earlier.state == "none"
    if writes and is_fresh and needed is not None and free is not None and needed > free:
        raise OptionError(no_room(needed, free, shown))


def has_yes(planned: Planned, yes: bool) -> bool:
    """Whether the images may be written: they are what was begun, `--yes`, or the answer on a terminal is yes."""
    if yes or not planned.needs_yes:
        return True
    if not sys.stdin.isatty():
        return False
    earlier = planned.earlier
    images = (earlier.images if earlier is not None else 0) + (planned.dropped if planned.recipe.subset.dropped else 0)
    what = f"as {planned.recipe.subset.write}" if earlier is not None else "that go, by reason,"
    try:
        answer = input(question(images, what, earlier is not None and earlier.state == "other"))
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def write(planned: Planned) -> dict[str, Any]:
    """Write the images; `subset` and `dropped_images` as the summary of filter_dataset has them."""
    recipe, output = planned.recipe, planned.output
    parts, decisions = planned.looked.tables.own, storage.join(output, DECIDED, DECISIONS)
    done: dict[str, Any] = {}
    workers = recipe.run.workers
    _warn_of_earlier(planned)
    if recipe.subset.write != NO_IMAGES:
        resume = planned.earlier is None or planned.earlier.state != "other"
        done["subset"] = subset_job.write_subset(
            parts, decisions, _settings(recipe), output, beam_options([], workers=workers), resume
        )
    if recipe.subset.dropped:
        options = beam_options([], workers=workers)
        try:
            report = dropped_job.write_dropped(parts, decisions, (), output, options, resume=True)
        except AnotherSubsetError:
            report = dropped_job.write_dropped(parts, decisions, (), output, options, resume=False)
        done["dropped_images"] = report
    return done


def _warn_of_earlier(planned: Planned) -> None:
    subset = planned.recipe.subset
    for folder, wanted in ((SUBSET, subset.write != NO_IMAGES), (DROPPED, subset.dropped)):
        if not wanted and storage.list_names(storage.join(planned.output, folder)):
            _log.warning(
                "%s: left as it is, with the images of an earlier recipe; this one writes none there",
                storage.join(planned.output, folder),
            )


def _settings(recipe: Recipe) -> SubsetSettings:
    subset = recipe.subset
    return SubsetSettings(subset.write, subset.shard_size, subset.relabel, (), subset.recordio_layout)
