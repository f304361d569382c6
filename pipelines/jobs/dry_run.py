"""The dry run of the commands that write a table: what would be read, and nothing written."""

import argparse
import dataclasses
import tempfile

from fiqa_core.images.preprocess import ChannelOrder
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.first_pictures import first_look
from fiqa_core.scoring.preview import Preview, preview
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.sample import Sample, take_sample
from fiqa_core.wording import counted
from pipelines.cli.command import EXIT_OK
from pipelines.cli.log_format import report
from pipelines.cli.table_options import DEFAULT_UNIT_SIZE

_SHOWN = 5


def look_first(arguments: argparse.Namespace, settings: ScoreSettings, sample: Sample | None) -> int:
    """Plan as for a real run, look at some records, say what was found; the exit code.

    What a plan must write down goes to a folder that is removed; the output is not touched.
    """
    unit_size = arguments.unit_size or DEFAULT_UNIT_SIZE
    with tempfile.TemporaryDirectory() as workspace:
        plan = plan_dataset(arguments.input, arguments.format, unit_size, workspace, settings.read)
        if sample is not None:
            plan, sample = take_sample(plan, sample, settings.read)
        found = preview(plan.units, dataclasses.replace(settings, sample=sample))
        look = first_look(plan.units, settings) if settings.align is None else None
    doubts = [] if look is None or look.warning is None else [f"  {look.warning}"]
    if found.colours.exchanged:
        doubts.append(f"  blue is stronger than red in {found.colours.blue} faces: --channel-order {_other(settings)}")
    report(
        [
            *_planned(plan, sample),
            *_seen(found),
            *doubts,
            "dry run: nothing was written. next: the same without --dry-run",
        ]
    )
    return EXIT_OK


def _planned(plan: Plan, sample: Sample | None) -> list[str]:
    shards = dict.fromkeys((unit.url, unit.container) for unit in plan.units)
    formats = dict.fromkeys(container for _, container in shards)
    each = ", ".join(f"{name} {sum(kind == name for _, kind in shards):,}" for name in formats)
    records = "records: known after reading" if plan.records is None else counted(plan.records, "record")
    lines = [f"{counted(len(plan.units), 'unit')} of {counted(len(shards), 'shard or folder', 'shards or folders')}"]
    lines[0] += f" ({each}); {records}"
    return lines if sample is None else [*lines, sample.in_words()]


def _seen(found: Preview) -> list[str]:
    if not found.records:
        return ["no records found. Check --input (and --format)."]
    lines = [f"of {counted(found.records, 'record')} that were looked at:"]
    if found.labels:
        sources = ", ".join(name for name, _ in found.label_sources.most_common()) or "the shards"
        lines.append(
            f"  labels: {sum(found.labels.values()):,}, {counted(len(found.labels), 'identity', 'identities')}, from "
            f"{sources}"
        )
    else:
        hint = next(iter(found.looks_like_a_label), None)
        lines.append("  labels: none" + (f"; fields that look like one: {hint} (--label-field)" if hint else ""))
    sizes = [f"{width} x {height} ({count:,})" for (width, height), count in found.sizes.most_common(_SHOWN)]
    more = len(found.sizes) - len(sizes)
    lines.append(f"  sizes in pixels: {', '.join(sizes) or 'none'}" + (f" and {more:,} more" if more > 0 else ""))
    lines += [f"  no score: {status} {count:,}" for status, count in sorted(found.rejected.items())]
    return lines


def _other(settings: ScoreSettings) -> str:
    return next(order for order in ChannelOrder if order != settings.channel_order)
