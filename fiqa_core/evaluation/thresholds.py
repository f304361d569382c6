"""Recommended thresholds of a whole evaluation, as rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fiqa_core.evaluation.recommend import Recommendation, cost, reaching, short_threshold, stops_paying
from fiqa_core.evaluation.sources import Qualities
from fiqa_core.evaluation.study import Result


def recommendation_rows(
    dataset: str,
    fr_model: str,
    results: Iterable[Result],
    at_hand: Mapping[str, Qualities],
    targets: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Rows of recommendations.csv (schemas/edc.py), from the curves of the protocol `fixed`.

    Args:
        at_hand: by quality measure, the set on which costs are counted; measures that are not in it are left out.
        targets: FNMRs to reach; none: half of what it is with nothing discarded.
    """
    rows = []
    for result in results:
        if result.curve.protocol != "fixed" or result.method not in at_hand:
            continue
        wanted = targets or [float(result.curve.fnmr[0]) / 2]
        found = [stops_paying(result.curve), *(reaching(result.curve, target) for target in wanted)]
        for place, recommendation in enumerate(found):
            band = (math.nan, math.nan)
            if place == 0 and result.bands is not None:
                band = float(result.bands.numbers_low[-1]), float(result.bands.numbers_high[-1])
            rows.append(_row(dataset, fr_model, result.method, recommendation, at_hand[result.method], band))
    return rows


def _row(
    dataset: str,
    fr_model: str,
    method: str,
    recommendation: Recommendation,
    table: Qualities,
    band: tuple[float, float],
) -> dict[str, Any]:
    quality = recommendation.min_quality
    known = np.isfinite(quality)
    costs = cost(table.values, table.labels, quality if known else -math.inf)
    return {
        "dataset": dataset,
        "fr_model": fr_model,
        "method": method,
        "fmr": recommendation.fmr,
        "kind": recommendation.kind,
        "target_fnmr": recommendation.target,
        "min_quality": short_threshold(quality, table.values[np.isfinite(table.values)]) if known else math.nan,
        "min_quality_low": band[0] if known else math.nan,
        "min_quality_high": band[1] if known else math.nan,
        "discard": recommendation.discard,
        "fnmr_before": recommendation.fnmr_before,
        "fnmr": recommendation.fnmr,
        "images": costs.images,
        "images_dropped": costs.images_dropped,
        "identities": costs.identities,
        "identities_dropped": costs.identities_dropped,
    }
