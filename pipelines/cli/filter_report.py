"""What filter_dataset prints at its end."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.decision_files import DECISIONS
from fiqa_core.curation.subset.settings import DATA, SUBSET
from fiqa_core.wording import counted, visible
from pipelines.cli.log_format import report

_MOST_GROUPS = 24


def print_account(arguments: argparse.Namespace, summary: Mapping[str, Any]) -> None:
    """Print counts by reason, before and after, and what the embeddings showed."""
    before, after = summary["before"], summary["after"]
    lines = [
        f"{counted(summary['rows'], 'row')}: {summary['kept']:,} kept, {summary['rows'] - summary['kept']:,} dropped"
    ]
    for reason, count in summary["dropped"].items():
        if count:
            lines.append(f"  {reason:<24}{count:>12,}  {summary['rules'][reason]}")
    lines += _conditions(summary.get("drop_where", ()))
    if summary.get("quality_is") == "percentile":
        lines.append(
            "the tables are of several networks: quality here is the percentile in the set of their calibration"
        )
    lines += _groups(summary.get("groups"))
    for name, found in summary.get("incomplete", {}).items():
        lines.append(f"INCOMPLETE --{name}: {found['unknown']} (not among the rows above; see summary.json)")
    lines += [f"{line}: what is kept is a part of the sample" for line in summary.get("samples", ())]
    spared = {reason: count for reason, count in summary.get("spared", {}).items() if count}
    if spared:
        each = ", ".join(f"{reason} {count:,}" for reason, count in spared.items())
        lines.append(f"  kept although quality rules found them, for they are recognised: {each}")
    if after["found_by_quality_rules"]:
        found = counted(after["found_by_quality_rules"], "kept row")
        lines.append(f"  less weight, because the quality rules found them: {found}")
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
        lines.append(
            f"{counted(before['images_without_label'], 'row')} without a label: rules about identities skip them"
        )
    lines += _found(summary, arguments.dry_run)
    report(lines)
    sys.stdout.flush()


def _conditions(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each condition of --drop-where did, and for how many rows it could not be told."""
    lines = []
    for each in found:
        line = f"  --drop-where {each['condition']}: holds for {counted(each['matched'], 'scored row')}"
        if each["dropped"] != each["matched"]:
            line += f", {each['dropped']:,} dropped by it"
        if each["null"]:
            line += f"; {counted(each['null'], 'row')} not dropped by it, since a value is null there"
        lines.append(line)
    return lines


def _groups(found: Mapping[str, Any] | None) -> list[str]:
    """What each group loses, those that lose most first; and what a budget costs."""
    if found is None:
        return []
    worst_first = sorted(found["groups"].items(), key=lambda item: (-item[1]["share_lost"], item[0]))
    lines = [f"by {found['by']}:{'scored':>28}{'lost':>10}{'share lost':>12}{'by quality':>12}"]
    for name, group in worst_first[:_MOST_GROUPS]:
        lines.append(
            f"  {visible(name):<24}{group['scored']:>12,}{group['lost']:>10,}{100 * group['share_lost']:>10.2f} %"
            f"{100 * group['share_by_quality']:>10.2f} %"
        )
    if len(worst_first) > _MOST_GROUPS:
        lines.append(f"  ... and {counted(len(worst_first) - _MOST_GROUPS, 'more group')} in summary.json")
    budget = found.get("budget")
    if budget is not None:
        kept = counted(budget["rows_kept_for_it"], "row")
        price = (
            f"  budget: no group loses more than {budget['share']:.4g} to the rules of quality; "
            f"{counted(budget['kept_with_it'], 'image')} kept, {budget['kept_without_it']:,} without it; price: {kept} "
            "kept"
        )
        if budget["rows_kept_for_it"]:
            price += (
                f" that the policy drops (quality from {budget['least_quality_kept_for_it']:.4g}; mean of all kept "
                f"{budget['mean_quality_without_it'] or 0:.4g} -> {budget['mean_quality_with_it']:.4g})"
            )
        lines.append(price)
    return lines


def print_end(arguments: argparse.Namespace, summary: Mapping[str, Any]) -> None:
    """Print what was written, and the next step."""
    report([*written(summary), _next_step(arguments, summary)])


def _found(summary: Mapping[str, Any], is_dry_run: bool) -> list[str]:
    """What the embeddings show, whether or not the policy uses it."""
    verdicts = {name: count for name, count in summary["before"]["label_verdicts"].items() if count}
    if verdicts.keys() <= {"not_judged"}:
        return []
    lines = ["labels by embedding: " + ", ".join(f"{name} {count:,}" for name, count in verdicts.items())]
    counts = summary.get("findings", {}).get("counts", {})
    if "splits" in counts:
        where = "" if is_dry_run else " (findings/identities.parquet)"
        lines.append(
            f"identities that look like two people: {counts['splits']:,}; like another one: "
            f"{counts['merge_candidates']:,}{where}"
        )
    return lines


def written(summary: Mapping[str, Any]) -> list[str]:
    """What was written of the images that are kept (`subset`) and of those that go (`dropped_images`)."""
    return [*_written_subset(summary), *_written_dropped(summary)]


def _written_dropped(summary: Mapping[str, Any]) -> list[str]:
    dropped = summary.get("dropped_images")
    if dropped is None:
        return []
    lines = [
        f"dropped images written: {counted(dropped['images'], 'image')}, {counted(dropped['bytes'], 'byte')}; "
        f"{counted(dropped['images_now'], 'image')} by this run"
    ]
    if dropped["above_the_size_limit"]:
        lines.append(f"  {counted(dropped['above_the_size_limit'], 'image')} above the size limit: not written")
    return lines + [f"PROBLEM: {problem}" for problem in dropped["problems"]]


def _written_subset(summary: Mapping[str, Any]) -> list[str]:
    subset = summary.get("subset")
    if subset is None:
        return []
    lines = [
        f"written: {counted(subset['images'], 'image')}, {counted(subset['bytes'], 'byte')}, "
        f"{counted(subset['shards'], 'shard')} "
        f"({subset['format']}); {counted(subset['images_now'], 'image')} by this run"
    ]
    return lines + [f"PROBLEM: {problem}" for problem in subset["problems"]]


def _next_step(arguments: argparse.Namespace, summary: Mapping[str, Any]) -> str:
    if not summary["rows"]:
        return "the table has no rows. Check --quality."
    if not summary["before"]["images"]:
        return "no row has a score: nothing can be kept. See `status` in the quality table."
    if not summary["kept"]:
        most = max(summary["dropped"], key=summary["dropped"].get)
        return f"nothing is kept: most rows were dropped as {most}. Check that part of the policy."
    if arguments.dry_run:
        instead = "without --dry-run" if arguments.output else "with --output FOLDER in place of --dry-run"
        return f"dry run: nothing was written. next: the same command {instead}"
    if not summary["complete"]:
        return "next: fix what is named above and run the same command with --resume"
    if storage.in_this_process_only(arguments.output):
        return "what was written is in the memory of this process, and lost when it ends"
    if "subset" in summary:
        place = storage.join(arguments.output, SUBSET, DATA)
        return f"next: train on {place}; what was dropped and why is in {storage.join(arguments.output, 'removed.csv')}"
    folder = storage.join(arguments.output, DECISIONS)
    return f"next: look at {storage.join(arguments.output, 'removed.csv')}; all rows with their reasons are in {folder}"
