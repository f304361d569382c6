"""What clean_dataset does once its command line is read: one stage after the other, each by its own job."""

import argparse
import functools
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.recipe import clean_run
from fiqa_core.curation.recipe.recipe_file import (
    OWN_CALIBRATION,
    located_everywhere,
    new_recipe,
    read_recipe,
    with_line,
)
from fiqa_core.curation.recipe.reconcile import reconcile
from fiqa_core.curation.recipe.sections import Recipe
from fiqa_core.report.charts import require_matplotlib
from fiqa_core.runs.layout import SUMMARY, sealed, unsealed
from fiqa_core.runs.lock import hold_output
from fiqa_core.settings.fields import SettingError
from fiqa_core.tables.quality_files import parts_of
from fiqa_core.tables.whole_tables import whole_tables
from pipelines.cli.clean_options import settings_of
from pipelines.cli.clean_report import next_line, unanswered_lines
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK, EXIT_UNANSWERED
from pipelines.cli.filter_report import print_account, written
from pipelines.cli.log_format import report
from pipelines.jobs import clean_account, clean_write, embed_job, filter_job, report_job, score_job
from pipelines.jobs.clean_stages import (
    Parsers,
    Stage,
    decide_stage,
    embed_stage,
    report_stage,
    run_again,
    score_stage,
)
from pipelines.runners import progress
from schemas.versions import PACKAGE_VERSION

_log = logging.getLogger("clean_dataset")


@dataclass(frozen=True)
class Stages:
    """The stages of a recipe; None: it has no such stage."""

    score: Stage
    embed: Stage | None
    decide: Stage
    report: Stage | None

    def all(self) -> list[Stage]:
        """In order."""
        return [stage for stage in (self.score, self.embed, self.decide, self.report) if stage is not None]


@dataclass(frozen=True)
class Clean:
    """One run. output: absolute; shown: as the user calls it. yes: no question is asked."""

    recipe: Recipe
    stages: Stages
    output: str
    shown: str
    yes: bool


def run(arguments: argparse.Namespace, rest: Sequence[str], parsers: Parsers) -> int:  # noqa: ARG001
    """Clean; options of others are refused before."""
    given = settings_of(arguments)
    place, shown = _place(arguments, given.get("data", {}).get("output"))
    recipe = new_recipe({}, given) if place is None else read_recipe(place, given)
    if place is None:
        recipe = _with_own_calibration(recipe)
    inputs = given.get("data", {}).get("input", recipe.data.input)
    recipe = located_everywhere(recipe)
    output = recipe.data.output
    try:
        stages = _stages(parsers, recipe, inputs, output)
    except SettingError as error:
        if place is None:
            raise
        raise with_line(error, place) from error
    clean = Clean(recipe, stages, output, shown or output, arguments.yes)
    if arguments.dry_run:
        return _dry_run(clean)
    if recipe.report.make:
        require_matplotlib(", or leave the report out with --no-report")  # before hours of other stages
    with hold_output(output):
        clean_run.begin(output, recipe.data.input)
        if clean_run.keep_recipe(output, recipe):
            _log.info("recipe: %s", storage.join(clean.shown, "recipe.yaml"))
        return _run_on(clean)


def _place(arguments: argparse.Namespace, output: str | None) -> tuple[str | None, str | None]:
    """The recipe to begin with, and the output as the user calls it."""
    if arguments.recipe is not None:
        return storage.absolute(arguments.recipe), output
    return (None if output is None else clean_run.recipe_in(storage.absolute(output))), output


def _with_own_calibration(recipe: Recipe) -> Recipe:
    score = recipe.score
    if score.model is None and score.network is None and score.calibration is None and not score.options:
        return replace(recipe, score=replace(score, calibration=OWN_CALIBRATION))
    return recipe


def _stages(parsers: Parsers, recipe: Recipe, inputs: Sequence[str], output: str) -> Stages:
    return Stages(
        score_stage(parsers, recipe, inputs, output),
        embed_stage(parsers, recipe, inputs, output) if recipe.embeds else None,
        decide_stage(parsers, recipe, output),
        report_stage(parsers, recipe, output) if recipe.report.make else None,
    )


def _dry_run(clean: Clean) -> int:
    lines = [f"recipe: {storage.join(clean.shown, 'recipe.yaml')}; stages:"]
    for number, stage in enumerate(clean.stages.all(), 1):
        lines += [f"{number}. {stage.name}: {_state(stage)}", f"   {stage.line}"]
    if clean.recipe.writes:
        lines.append(f"{len(clean.stages.all()) + 1}. write the images as {clean.recipe.subset.write}, after a yes")
    report(lines)
    arguments = clean.stages.score.arguments
    arguments.dry_run = True
    return score_job.run(arguments, [], clean.stages.score.parser, None, stage=True)


def _state(stage: Stage) -> str:
    if not stage.folder:
        return "made if anything of it changed"
    if not storage.list_names(stage.folder):
        return "not begun"
    return "goes on" if not stage.version() else "done before; again only if its settings or input changed"


def _run_on(clean: Clean) -> int:
    recipe, stages, output = clean.recipe, clean.stages, clean.output
    before = [stage.version() for stage in stages.all()]
    total = len(stages.all()) + recipe.writes
    with _numbered(1, total, stages.score):
        code = run_again(stages.score, functools.partial(_score, parser=stages.score.parser))
    if not _goes_on(code, recipe):
        return code
    scores, worst = stages.score.finished(), code
    if not scores["records"]:
        raise OptionError(
            f"{' '.join(stages.score.arguments.input)}: no records found, so there is nothing to clean. Check --input "
            "(and --format)."
        )
    own = whole_tables([stages.score.folder], recipe.data.allow_incomplete)
    clean_write.check_writing(recipe, parts_of(own.urls))
    embeddings = None
    if stages.embed is not None:
        with _numbered(2, total, stages.embed):
            code = run_again(stages.embed, functools.partial(_embed, parser=stages.embed.parser))
        if not _goes_on(code, recipe):
            return code
        embeddings, worst = stages.embed.finished(), max(worst, code)
    number = len(stages.all()) - (stages.report is not None)
    with _numbered(number, total, stages.decide):
        run_again(stages.decide, functools.partial(_decide, parser=stages.decide.parser))
        decided = stages.decide.finished()
        looked = clean_account.look(recipe, stages.decide.arguments, decided["decisions_run"], output)
    if not recipe.data.allow_incomplete:
        reconcile(scores, embeddings, decided, looked.kept.images)
    changed = before != [stage.version() for stage in stages.all()] or looked.is_new
    page = ""
    if stages.report is not None:
        with _numbered(number + 1, total, stages.report):
            page, is_new = _report(clean, decided["decisions_run"], looked.digest)
            changed |= is_new
    return _write(clean, scores, decided, looked, changed, page, worst)


def _goes_on(code: int, recipe: Recipe) -> bool:
    """Whether a stage that ended with this code lets the next one begin."""
    if code == EXIT_INCOMPLETE and not recipe.data.allow_incomplete:
        report(["the table is not complete, so nothing more was done. --allow-incomplete goes on without what is lost"])
    return code == EXIT_OK or (code == EXIT_INCOMPLETE and recipe.data.allow_incomplete)


def _write(
    clean: Clean,
    scores: dict[str, Any],
    decided: dict[str, Any],
    looked: clean_account.Looked,
    changed: bool,
    page: str,
    worst: int,
) -> int:
    recipe, output = clean.recipe, clean.output
    asked = hashlib.sha256(json.dumps([decided["decisions_run"], asdict(recipe.subset)]).encode()).hexdigest()
    agreed = _earlier(output).get("agreed") == asked
    planned = clean_write.plan_writing(recipe, output, looked, decided["rows"] - decided["kept"], agreed)
    summary = {
        "records": scores["records"],
        "status": scores["status"],
        "kept": decided["kept"],
        "dropped": decided["dropped"],
        "report_of": page,
        "account": clean_account.counts_of(looked),
    }
    print_account(clean.stages.decide.arguments, decided)
    clean_write.account(planned, scores, clean.shown)
    if recipe.writes and not clean_write.has_yes(planned, clean.yes):
        _finish(output, summary | {"complete": False})
        report(unanswered_lines(recipe, clean.shown))
        return EXIT_UNANSWERED
    done: dict[str, Any] = {}
    total = len(clean.stages.all()) + 1
    if recipe.writes:
        summary["agreed"] = asked
        _finish(output, summary | {"complete": False})
        with _named(total, total, "write"):
            done = clean_write.write(planned)
    complete = worst == EXIT_OK and all(part["complete"] for part in done.values())
    if "subset" in done:
        complete = complete and done["subset"]["images"] == decided["kept"]
    _finish(output, summary | done | {"complete": complete})
    changed |= planned.is_new or any(part["images_now"] for part in done.values())
    if complete and not changed:
        _log.info("the run in %s is complete already: nothing to do", clean.shown)
    report([*written(done), next_line(recipe, clean.shown, decided["kept"], complete)])
    return EXIT_OK if complete else EXIT_INCOMPLETE


def _earlier(output: str) -> dict[str, Any]:
    """The summary that the last run left; empty if there is none of ours."""
    return unsealed(storage.join(output, SUMMARY)) or {}


def _finish(output: str, summary: dict[str, Any]) -> None:
    storage.publish_bytes(sealed(summary), output, storage.join(output, SUMMARY))
    storage.sweep(output)


def _report(clean: Clean, decisions: str, further: str) -> tuple[str, bool]:
    """Make the page unless it is there for these very decisions; a digest of what it shows, and whether it is new."""
    stage, output = clean.stages.report, clean.output
    settings = [asdict(clean.recipe.report), stage.line if stage is not None else "", PACKAGE_VERSION]
    shows = hashlib.sha256(json.dumps([decisions, further, settings]).encode()).hexdigest()
    page = storage.stat(storage.join(output, clean_run.REPORT))
    if page is not None and _earlier(output).get("report_of") == shows:
        _log.info("the report is there already")
        return shows, False
    if stage is not None:
        clean_run.sweep_pages(output)
        report_job.run(stage.arguments, [])
    return shows, True


@contextmanager
def _numbered(number: int, total: int, stage: Stage) -> Iterator[None]:
    with _named(number, total, stage.name, stage.line):
        yield


@contextmanager
def _named(number: int, total: int, name: str, line: str = "") -> Iterator[None]:
    """Say which stage of how many begins, and how long it took; its progress begins with that too."""
    _log.info("stage %d of %d: %s%s", number, total, name, f": {line}" if line else "")
    began = time.monotonic()
    with progress.stage(f"stage {number} of {total}, {name}: "):
        yield
    _log.info("stage %d of %d: %s took %.1f s", number, total, name, time.monotonic() - began)


def _score(arguments: argparse.Namespace, parser: Any) -> int:
    return score_job.run(arguments, [], parser, None, stage=True)


def _embed(arguments: argparse.Namespace, parser: Any) -> int:
    return embed_job.run(arguments, [], parser, passing=True)


def _decide(arguments: argparse.Namespace, parser: Any) -> int:
    return filter_job.run(arguments, [], parser, stage=True)
