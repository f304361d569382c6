"""Paired differences of quality measures: two measures on the same resampled subjects.

Bands of two measures may overlap although one is better in nearly every resample: both rise and fall with the subjects
that are drawn. The difference within each resample does not have that part.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fiqa_core.evaluation.bootstrap import interval
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.study import Result

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
_AREAS = ("auc", "auc_30", "auc_20")


def measure_to_compare_with(name: str, measures: Sequence[str], dataset: str) -> str:
    """The measure that all others of a dataset are compared with: the one of that name, or the first for "".

    Raises:
        EvaluationError: no measure of that name.
    """
    if name and name not in measures:
        raise EvaluationError(
            f"--against-measure {name}: {dataset} has no measure of that name; it has {', '.join(measures)}"
        )
    return name or measures[0]


def difference_rows(
    dataset: str, fr_model: str, results: Sequence[Result], measures: Sequence[str], against: str
) -> list[dict[str, Any]]:
    """Rows of differences.csv (schemas/edc.py): every other measure minus `against`, for each curve."""
    curves: dict[tuple[str, float], dict[str, Result]] = {}
    for result in results:
        if result.method in measures:
            curves.setdefault((result.curve.protocol, result.curve.fmr), {})[result.method] = result
    return [
        {
            "protocol": protocol,
            "dataset": dataset,
            "fr_model": fr_model,
            "method": method,
            "against": against,
            "fmr": fmr,
            **_difference(result, by_method[against]),
        }
        for (protocol, fmr), by_method in curves.items()
        for method, result in by_method.items()
        if method != against
    ]


def _difference(one: Result, other: Result) -> dict[str, Any]:
    difference = one.numbers[: len(_AREAS)] - other.numbers[: len(_AREAS)]
    low = high = np.full(len(_AREAS), np.nan)
    if one.bands and other.bands and one.bands.samples is not None and other.bands.samples is not None:
        low, high = interval((one.bands.samples - other.bands.samples)[:, : len(_AREAS)])
    row: dict[str, Any] = {}
    for place, name in enumerate(_AREAS):
        known = not math.isnan(difference[place])
        row[name] = float(difference[place])
        row[f"{name}_low"] = float(low[place]) if known else math.nan
        row[f"{name}_high"] = float(high[place]) if known else math.nan
    row["verdict"] = _verdict(row)
    return row


def _verdict(row: Mapping[str, Any]) -> str:
    if math.isnan(row["auc_30_low"]):
        return ""
    if row["auc_30_high"] < 0:
        return BETTER
    return WORSE if row["auc_30_low"] > 0 else UNDECIDED
