"""From scores to a cleaner training set: quality table + policy -> decisions and the manifest of what is kept."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.curation import filter_output
from fiqa_core.curation.database import Findings
from fiqa_core.curation.decide import Resources, Tables, apply_policy
from fiqa_core.curation.parts import Part, TableError, find_parts
from fiqa_core.curation.policy import Policy
from fiqa_core.curation.rules import check_needs
from fiqa_core.scoring.output_lock import hold_output
from pipelines.policy_options import add_policy_options, policy_of
from pipelines.runners import OptionError, beam_options

_log = logging.getLogger("filter_dataset")
EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130
DEFAULT_SHARD_SIZE = 1_000_000
_MEMORY_MB = 1024


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every row is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("fsspec").setLevel(logging.WARNING)  # it tells of every remote file that is opened
    try:
        beam_options(rest, list(parser._option_string_actions))
        return _run(arguments)
    except MemoryError as error:
        _log.error("not enough memory: %s. Give more by --memory-mb", error)
        return EXIT_BAD_INPUT
    except (ValueError, OSError, RuntimeError) as error:
        _log.error("%s", error)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        _log.error("interrupted; finished files are kept: run the same command with --resume")
        return EXIT_INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    policy = policy_of(arguments)
    tables = _tables(arguments)
    check_needs(policy, tables.findings, bool(tables.against))
    if arguments.dry_run:
        with tempfile.TemporaryDirectory(prefix="fiqa-") as folder:
            summary = apply_policy(policy, tables, _resources(arguments, Path(folder)))
        _closing_words(arguments, summary)
        return EXIT_OK
    if arguments.output is None:
        raise OptionError("--output is needed (only --dry-run goes without)")
    output = storage.absolute(arguments.output)
    with hold_output(output):
        return _run_on(output, arguments, policy, tables)


def _run_on(output: str, arguments: argparse.Namespace, policy: Policy, tables: Tables) -> int:
    filter_output.prepare_output(output, arguments.resume, arguments.overwrite)
    described = filter_output.describe_run(
        policy, tables.own, tables.against, tables.findings, arguments.write, arguments.shard_size
    )
    finished = filter_output.begin(output, described, arguments.overwrite)
    if finished is not None:
        _log.info("the run in %s is complete already: nothing to do", arguments.output)
        _closing_words(arguments, finished)
        return EXIT_OK
    with storage.temporary_folder_for(output) as folder:
        summary = apply_policy(policy, tables, _resources(arguments, folder), output, described)
    summary |= {"complete": True, "policy": policy.to_dict(), "decisions_run": described.digest()}
    filter_output.finish(output, summary)
    _closing_words(arguments, summary)
    return EXIT_OK


def _tables(arguments: argparse.Namespace) -> Tables:
    quality = find_parts(arguments.quality)
    every = find_parts([*arguments.quality, *arguments.against])
    own, against = every[: len(quality)], every[len(quality) :]
    _refuse_overlapping_names(own, find_parts(arguments.against) if arguments.against else ())
    tables = Tables(own, against, _findings(arguments.findings))
    shown = f" and {tables.all_rows - tables.own_rows:,} of --against" if against else ""
    _log.info("%s rows in %d files%s", f"{tables.own_rows:,}", len(own), shown)
    return tables


def _refuse_overlapping_names(own: Sequence[Part], against: Sequence[Part]) -> None:
    both = {part.url for part in own} & {part.url for part in against}
    if both:
        raise TableError(f"{min(both)}: is part of --quality and of --against; every row would be an overlap.")


def _findings(folder: str | None) -> Findings:
    if folder is None:
        return Findings()
    names = storage.list_names(folder)
    if not names:
        raise TableError(f"{folder}: no such folder, or nothing in it. Expected labels-*.parquet and pairs-*.parquet.")
    found = {
        kind: tuple(storage.join(folder, n) for n in names if n.startswith(f"{kind}-") and n.endswith(".parquet"))
        for kind in ("labels", "pairs")
    }
    if not any(found.values()):
        raise TableError(f"{folder}: holds no findings. Expected labels-*.parquet and pairs-*.parquet.")
    return replace(Findings(), **found)


def _resources(arguments: argparse.Namespace, folder: Path) -> Resources:
    return Resources(folder, arguments.memory_mb << 20, arguments.threads or 0)


def _closing_words(arguments: argparse.Namespace, summary: dict[str, Any]) -> None:
    before, after = summary["before"], summary["after"]
    lines = [f"{summary['rows']:,} rows: {summary['kept']:,} kept, {summary['rows'] - summary['kept']:,} dropped"]
    for reason, count in summary["dropped"].items():
        if count:
            lines.append(f"  {reason:<24}{count:>12,}  {summary['rules'][reason]}")
    if after["found_by_quality_rules"]:
        lines.append(f"  {after['found_by_quality_rules']:,} kept rows were found by the quality rules: less weight")
    lines.append(f"{'':<28}{'before':>12}{'after':>12}")
    lines += [
        f"  {name.replace('_', ' '):<26}{before[name]:>12,}{after[name]:>12,}"
        for name in ("images", "identities", "images_without_label")
    ]
    for title, name, key in (
        ("images per identity, mean", "images_per_identity", "mean"),
        ("quality, mean", "quality", "mean"),
        ("quality, least", "quality", "min"),
    ):
        cells = "".join(f"{side[name][key]:>12.4g}" if side[name] else f"{'-':>12}" for side in (before, after))
        lines.append(f"  {title:<26}{cells}")
    lines.append("  tiers (kept): " + ", ".join(f"{name} {count:,}" for name, count in after["tiers"].items()))
    if before["images_without_label"]:
        lines.append(f"{before['images_without_label']:,} rows have no label: rules about identities pass over them")
    lines.append(_next_step(arguments, summary))
    print("\n".join(lines))


def _next_step(arguments: argparse.Namespace, summary: dict[str, Any]) -> str:
    if not summary["rows"]:
        return "the table has no rows. Check --quality."
    if not summary["before"]["images"]:
        return "no row has a score: nothing can be kept. See `status` in the quality table."
    if arguments.dry_run:
        return "dry run: nothing was written. next: the same command without --dry-run"
    folder = storage.join(arguments.output, "decisions")
    return f"next: look at {storage.join(arguments.output, 'removed.csv')}; all rows with their reasons are in {folder}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.filter_dataset",
        description="Decide by a policy which rows of a quality table are kept, and with what weight.",
        epilog="Beam's own options are passed on. Exit code: 0 every row is accounted for; 2 bad input or option, or "
        "the run broke off; 130 interrupted.",
        allow_abbrev=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--quality", nargs="+", required=True, metavar="URI", help="outputs of score_dataset, or their `quality`"
    )
    data.add_argument(
        "--against", nargs="+", default=[], metavar="URI", help="tables of datasets that must not overlap with this one"
    )
    data.add_argument("--findings", metavar="URI", help="folder with labels-*.parquet and pairs-*.parquet")
    data.add_argument("--output", metavar="URI", help="folder for the decisions; must be empty or not exist")
    data.add_argument(
        "--write", choices=("manifest", "none"), default="manifest", help="what is written of the kept rows (manifest)"
    )
    data.add_argument(
        "--shard-size",
        type=_positive,
        default=DEFAULT_SHARD_SIZE,
        metavar="N",
        help=f"rows a file of the manifest (default {DEFAULT_SHARD_SIZE:,})",
    )
    add_policy_options(parser)
    running = parser.add_argument_group("running")
    running.add_argument("--dry-run", action="store_true", help="print what the policy would do, write nothing")
    running.add_argument("--threads", type=_positive, metavar="N", help="(default: the cores)")
    running.add_argument(
        "--memory-mb", type=_positive, default=_MEMORY_MB, metavar="N", help=f"of the engine (default {_MEMORY_MB})"
    )
    again = running.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="keep finished files of an earlier run, do the others")
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run first")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run())
