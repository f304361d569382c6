"""How the tables of a report were made: what the runs say of themselves, and the command lines that make them again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiqa_core.report.curves import Evaluation
from fiqa_core.report.decided import Decided
from fiqa_core.runs.layout import RUN, parse_run, read_run_file
from fiqa_core.storage import above, join
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import visible
from schemas.versions import PACKAGE_VERSION

_MOST_ACCOUNT = 40_000  # characters
_FEW_FILES = 20


@dataclass(frozen=True)
class Provenance:
    """commands: command lines, in order. accounts: title and text (JSON) of what each run says of itself."""

    commands: tuple[str, ...]
    accounts: tuple[tuple[str, str], ...]


def provenance(
    parts: Sequence[TableFile],
    quality: Sequence[str],
    decided: Decided | None,
    edc: tuple[str, Evaluation] | None,
    command: str,
) -> Provenance:
    """What is known of the runs; a table without its run has no command line."""
    commands: list[str] = []
    accounts: list[tuple[str, str]] = []
    for folder in dict.fromkeys(above(part.url.rpartition("/")[0]) for part in parts):
        run = _scoring_run(folder)
        if folder is None or run is None:
            continue
        accounts.append((join(folder, RUN), _json(run)))
        commands.append(_line("score", ["--input", *map(str, run["inputs"]), "--output", folder], _of_network(run)))
    if decided is not None:
        policy = join(decided.folder, "policy.yaml")
        options = ["--quality", *quality, "--policy", policy, "--write", str(decided.run["write"])]
        review = ["--review", join(decided.folder, "review.csv")] if decided.run.get("review") else []
        commands.append(_line("filter", [*options, *review, "--output", decided.folder]))
        accounts.append((join(decided.folder, RUN), _json(_without_files(decided.run))))
    if edc is not None:
        folder, evaluation = edc
        accounts.append((join(folder, "evaluation.json"), _json(evaluation.account)))
        commands.append(_line("evaluate", [*_given(evaluation.account.get("arguments", {})), "--output", folder]))
    if command:
        commands.append(visible(command))
    accounts.append(("this report", _json({"package_version": PACKAGE_VERSION, "files": len(parts)})))
    return Provenance(tuple(commands), tuple(accounts))


def _scoring_run(folder: str | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    try:
        return read_run_file(folder, parse_run)
    except (FileNotFoundError, ValueError):
        return None


def _of_network(run: Mapping[str, Any]) -> str:
    digest = run["settings"].get("checkpoint_sha256")
    return f"   # checkpoint with SHA-256 {str(digest)[:16]}…" if digest else ""


def _given(arguments: Mapping[str, Any]) -> list[str]:
    """The options of an evaluation that say which data it took."""
    words: list[str] = []
    for name in ("quality", "embeddings", "pairs", "protocol", "fmr"):
        values = arguments.get(name)
        if isinstance(values, list) and values:
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def _line(command: str, words: Sequence[str], note: str = "") -> str:
    return visible(f"fiqa {command} {shlex.join(words)}") + note


def _without_files(run: Mapping[str, Any]) -> dict[str, Any]:
    """The account without long lists of files."""
    short = dict(run)
    for name in ("quality", "against", "findings"):
        files = run.get(name, [])
        if len(files) > _FEW_FILES:
            short[name] = [*files[:_FEW_FILES], f"and {len(files) - _FEW_FILES} more"]
    return short


def _json(account: Mapping[str, Any]) -> str:
    return json.dumps(account, indent=1, default=str)[:_MOST_ACCOUNT]
