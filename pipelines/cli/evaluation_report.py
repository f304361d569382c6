"""What evaluate_quality prints at its end."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fiqa_core.wording import counted, visible

_MOST_THRESHOLDS = 24
_MOST_DIFFERENCES = 48
_MOST_GROUPS = 12


def areas(datasets: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the areas for each dataset, face recognition model and protocol."""
    lines = [f"{d['name']}: {d['n_mated']:,} mated, {counted(d['n_nonmated'], 'non-mated pair')}" for d in datasets]
    lines.append("area under the curve to 30 % discard, x 1000 (lower = better); in brackets FNMR without discard, %")
    shown: dict[tuple[str, str, str], dict[str, dict[float, Mapping[str, Any]]]] = {}
    for row in rows:
        of_method = shown.setdefault((row["dataset"], row["fr_model"], row["protocol"]), {})
        of_method.setdefault(row["method"], {})[row["fmr"]] = row
    for (name, model, protocol), methods in shown.items():
        lines.append(f"{name}, {model}, {protocol}:")
        base = next(iter(methods.values()))
        heads = (f"FMR {fmr:g} ({100 * row['fnmr']:.2f})" for fmr, row in base.items())
        lines.append(" " * 26 + "".join(f"{head:>20}" for head in heads))
        for method, by_fmr in methods.items():
            lines.append(f"  {method:<24}" + "".join(f"{1000 * row['auc_30']:>20.3f}" for row in by_fmr.values()))
    return lines


def differences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each pair of measures and target: the paired difference of the areas to 30 %, with its verdict."""
    if not rows:
        return []
    lines = [
        "difference of the areas to 30 % discard, x 1000, over the same resampled subjects (negative = better)"
        if any(row["verdict"] for row in rows)
        else "difference of the areas to 30 % discard, x 1000 (negative = better; --bootstrap 200 gives bands)"
    ]
    for row in rows[:_MOST_DIFFERENCES]:
        where = f"{row['dataset']}, {row['fr_model']}, {row['protocol']}, FMR {row['fmr']:g}"
        band = f" [{1000 * row['auc_30_low']:.3f} {1000 * row['auc_30_high']:.3f}]" if row["verdict"] else ""
        verdict = f": {row['verdict']}" if row["verdict"] else ""
        lines.append(f"  {where}: {row['method']} - {row['against']} {1000 * row['auc_30']:+.3f}{band}{verdict}")
    if len(rows) > _MOST_DIFFERENCES:
        lines.append(f"  ... and {counted(len(rows) - _MOST_DIFFERENCES, 'more difference')} in differences.csv")
    return lines


def groups(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """FNMR of each group without discarding, and with 10 % discarded by each measure; worst groups first."""
    shown: dict[tuple[str, str, float], dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        if row["discard"] in (0.0, 0.1):
            of_group = shown.setdefault((row["dataset"], row["fr_model"], row["fmr"]), {}).setdefault(row["group"], {})
            of_group[row["method"] if row["discard"] else ""] = row
    lines = []
    for (dataset, model, fmr), by_group in shown.items():
        lines.append(
            f"{dataset}, {model}, FMR {fmr:g}: FNMR by group at one threshold, and (share of its pairs that goes) with "
            "10 % of all mated pairs discarded"
        )
        for name, found in sorted(by_group.items(), key=lambda item: -item[1][""]["fnmr"])[:_MOST_GROUPS]:
            each = ", ".join(
                f"{method} {100 * row['fnmr']:.2f} % ({100 * row['discarded']:.1f} %)"
                for method, row in found.items()
                if method
            )
            whole = found[""]
            pairs = counted(whole["n_mated"], "pair")
            band = ""
            if not math.isnan(whole["fnmr_low"]):
                band = f" [{100 * whole['fnmr_low']:.2f} {100 * whole['fnmr_high']:.2f}]"
            lines.append(f"  {visible(name)}: {100 * whole['fnmr']:.2f}{band} % of {pairs}; {each}")
        if len(by_group) > _MOST_GROUPS:
            lines.append(f"  ... and {counted(len(by_group) - _MOST_GROUPS, 'more group')} in groups.csv")
    return lines


def poor_images(voters: Mapping[str, tuple[int, int]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many images are poor for all recognisers and measures of a dataset, and for one of them only."""
    counts = Counter((row["dataset"], row["fmr"], row["advice"]) for row in rows)
    kinds = {(row["dataset"], row["fmr"]): None for row in rows}
    return [
        f"{dataset}, FMR {fmr:g}: poor for all {voters[dataset][0]} recognisers and "
        f"{counted(voters[dataset][1], 'measure')}: {counted(counts[dataset, fmr, 'drop'], 'image')} (drop); "
        f"for one of them only: {counts[dataset, fmr, 'keep']:,} (keep); "
        f"between: {counts[dataset, fmr, 'look']:,}; names in poor_images.csv"
        for dataset, fmr in kinds
    ]


def thresholds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a recommended threshold, with the flag that filter_dataset takes."""
    lines = [_threshold(row) for row in rows[:_MOST_THRESHOLDS]]
    notes = {row["note"] for row in rows if not math.isnan(row["min_quality"])} - {""}
    lines += [f"note: {note}" for note in sorted(notes)]
    if len(rows) > _MOST_THRESHOLDS:
        lines.append(f"... and {counted(len(rows) - _MOST_THRESHOLDS, 'more threshold')} in recommendations.csv")
    return lines


def _threshold(row: Mapping[str, Any]) -> str:
    where = f"{row['dataset']}, {row['fr_model']}, {row['method']}, FMR {row['fmr']:g}"
    stops = row["kind"] == "stops_paying"
    what = "discarding stops paying" if stops else f"FNMR falls to {row['target_fnmr']:.3g}"
    if math.isnan(row["min_quality"]):
        return f'{where}: no threshold for "{what}": {row["note"]}'
    identities = (
        f", {row['identities_dropped']:,} of {counted(row['identities'], 'identity', 'identities')}"
        if row["identities"]
        else ""
    )
    return (
        f"{where}: {what} at --min-quality {row['min_quality']!r}{_band(row)} "
        f"(FNMR {row['fnmr_before']:.3g} -> {row['fnmr']:.3g}; "
        f"costs {row['images_dropped']:,} of {counted(row['images'], 'image')}{identities})"
    )


def _band(row: Mapping[str, Any]) -> str:
    if math.isnan(row["min_quality_low"]):
        return ""
    return f" [95 % band {row['min_quality_low']:.3g} .. {row['min_quality_high']:.3g}]"


def without_threshold(methods: Sequence[str]) -> list[str]:
    """Why measures have no recommended threshold."""
    if not methods:
        return []
    names = ", ".join(dict.fromkeys(methods))
    return [f"no threshold for {names}: fiqa filter filters by a table's column `quality` in which higher is better"]
