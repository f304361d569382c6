"""The stages of clean_dataset as the commands that they are: their command lines, and how each is run again."""

import argparse
import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.policy import SECTIONS as POLICY_SECTIONS
from fiqa_core.curation.recipe.clean_run import DECIDED, EMBEDDINGS, FURTHER, REPORT, SCORES
from fiqa_core.curation.recipe.sections import Recipe
from fiqa_core.runs.folder import AnotherRunError
from fiqa_core.runs.layout import SUMMARY, unsealed
from fiqa_core.settings.fields import SettingError
from pipelines.cli.parser import Parser
from pipelines.cli.setting_options import setting_destination

_log = logging.getLogger("clean_dataset")
# What the recipe has keys for, and what this command decides.
_OWN = {
    *(
        "--input",
        "--output",
        "--resume",
        "--overwrite",
        "--dry-run",
        "--help",
        "-h",
        "--debug",
        "--device",
        "--workers",
    ),
    *("--format", "--label-field", "--image-field", "--key-field", "--model", "--network", "--calibration", "--align"),
    *("--phash", "--measures"),
}


@dataclass(frozen=True)
class Parsers:
    """What makes the parser of each command that is a stage."""

    score: Callable[[], Parser]
    embed: Callable[[], Parser]
    filter: Callable[[], Parser]
    report: Callable[[], Parser]


@dataclass(frozen=True)
class Stage:
    """A stage: its name, the command that it is, its options, and the folder of its run ("" for none)."""

    name: str
    command: str
    arguments: argparse.Namespace
    line: str
    parser: Parser
    folder: str = ""

    def finished(self) -> dict[str, Any]:
        """The summary of its finished run.

        Raises:
            SettingError: there is none.
        """
        summary = unsealed(storage.join(self.folder, SUMMARY))
        if summary is None:
            raise SettingError(f"{self.folder}: has no summary that its run wrote. Run the same command again.")
        return summary

    def version(self) -> str:
        """What changes when its run does anything."""
        found = storage.stat(storage.join(self.folder, SUMMARY))
        return "" if found is None else found.version


def score_stage(parsers: Parsers, recipe: Recipe, inputs: Sequence[str], output: str) -> Stage:
    """Score every image. `inputs`: as the user gave them, for they name the shards in the table."""
    score = recipe.score
    words = _reading(recipe, inputs, storage.join(output, SCORES))
    words += _words({"--model": score.model, "--network": score.network, "--calibration": score.calibration})
    words += [f"--{name}" for name in ("align", "phash", "measures") if getattr(score, name)]
    return _stage("score", parsers.score(), words, score.options, "score", storage.join(output, SCORES))


def embed_stage(parsers: Parsers, recipe: Recipe, inputs: Sequence[str], output: str) -> Stage:
    """Embed every image."""
    embed = recipe.embed
    words = _reading(recipe, inputs, storage.join(output, EMBEDDINGS))
    words += _words({"--model": embed.model, "--network": embed.network})
    words += ["--align"] if recipe.score.align else []
    return _stage("embed", parsers.embed(), words, embed.options, "embed", storage.join(output, EMBEDDINGS))


def decide_stage(parsers: Parsers, recipe: Recipe, output: str) -> Stage:
    """Findings and decisions; no images."""
    decide = recipe.decide
    folder = storage.join(output, DECIDED)
    words = ["--quality", storage.join(output, SCORES), "--output", folder, "--write", "none"]
    words += ["--embeddings", storage.join(output, EMBEDDINGS)] if recipe.embeds else []
    words += ["--against", *decide.against] if decide.against else []
    group = {"--group-key": decide.group_key, "--group-column": decide.group_column} if decide.group_by else {}
    labels = {"--labels-key": decide.labels_key, "--labels-column": decide.labels_column} if decide.labels else {}
    words += _words({"--review": decide.review, "--labels": decide.labels, "--group-by": decide.group_by})
    words += _words(group | labels | {"--workers": recipe.run.workers})
    words += ["--allow-incomplete"] if recipe.data.allow_incomplete else []
    stage = _stage("decide", parsers.filter(), words, "", "filter", folder, " --policy " + _policy_of(folder))
    for section, kind in POLICY_SECTIONS.items():
        values = getattr(recipe.policy, section)
        for item in fields(kind):
            setattr(stage.arguments, setting_destination(section, item.name), getattr(values, item.name))
    return stage


def report_stage(parsers: Parsers, recipe: Recipe, output: str) -> Stage:
    """The page with faces."""
    report = recipe.report
    words = ["--quality", storage.join(output, SCORES), "--decisions", storage.join(output, DECIDED)]
    words += ["--further", storage.join(output, FURTHER)] if recipe.decide.further else []
    words += ["--output", storage.join(output, REPORT), "--overwrite"]
    words += ["--title", report.title, "--examples", str(report.examples)]
    words += ["--group-by", *report.group_by] if report.group_by else []
    words += ["--allow-incomplete"] if recipe.data.allow_incomplete else []
    return _stage("report", parsers.report(), words, "", "report")


def run_again(stage: Stage, run: Callable[[argparse.Namespace], int]) -> int:
    """Run a stage: go on from its earlier run, or do it again where that was of other settings or input."""
    stage.arguments.resume, stage.arguments.overwrite = True, False
    try:
        return run(stage.arguments)
    except AnotherRunError as error:
        _log.warning("%s is done again, for something changed:", stage.name)
        for difference in error.differences:
            _log.warning("  %s", difference)
    stage.arguments.resume, stage.arguments.overwrite = False, True
    return run(stage.arguments)


def _policy_of(folder: str) -> str:
    return shlex.quote(storage.join(folder, "policy.yaml"))


def _reading(recipe: Recipe, inputs: Sequence[str], output: str) -> list[str]:
    data, run = recipe.data, recipe.run
    words = ["--input", *inputs, "--output", output]
    words += _words({"--format": data.format if data.format != "auto" else None})
    words += _words(
        {"--label-field": data.label_field, "--image-field": data.image_field, "--key-field": data.key_field}
    )
    device = run.device if run.device != "auto" else None
    return words + _words({"--device": device, "--workers": run.workers})


def _words(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() if value not in (None, "") for word in (name, str(value))]


def _stage(
    name: str, parser: Parser, words: list[str], options: str, command: str, folder: str = "", shown: str = ""
) -> Stage:
    with _refusing(parser, f"{name}: options"):
        more = _further_options(name, options)
        arguments, rest = parser.parse_known_args([*words, *more])
        if rest:
            raise SettingError(f"{name}: options: {rest[0]!r} is not an option of fiqa {command}")
    return Stage(name, command, arguments, f"fiqa {command} {shlex.join([*words, *more])}{shown}", parser, folder)


def _further_options(name: str, options: str) -> list[str]:
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise SettingError(f"{name}: options: {options!r} is not a command line ({error})") from error
    own = next((word for word in words if word.partition("=")[0] in _OWN), None)
    if own is not None:
        raise SettingError(f"{name}: options: {own} is not for here: the recipe has its own key for it, or sets it")
    return words


@contextmanager
def _refusing(parser: Parser, where: str) -> Iterator[None]:
    """What the parser refuses is an error of the recipe, and does not end the program."""

    def refuse(message: str) -> Any:
        raise SettingError(f"{where}: {message}")

    parser.error = refuse  # type: ignore[method-assign]
    yield
