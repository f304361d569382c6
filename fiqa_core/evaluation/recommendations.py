"""Recommended thresholds of a whole evaluation, as rows."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.recommend import (
    Recommendation,
    cost,
    largest_gain,
    like_random,
    reaching,
    short_threshold,
    stops_paying,
)
from fiqa_core.evaluation.sources import Qualities
from fiqa_core.evaluation.study import Result


def recommendation_rows(
    dataset: str,
    fr_model: str,
    results: Iterable[Result],
    at_hand: Mapping[str, Qualities],
    by_chance: Callable[[Curve], float],
    targets: Sequence[float] = (),
    note: str = "",
) -> list[dict[str, Any]]:
    """Rows of recommendations.csv (schemas/edc.py), from the curves of the protocol `fixed`.

    Args:
        at_hand: by quality measure, the set on which costs are counted; other measures are left out.
        by_chance: the largest gain of random qualities at a curve's threshold (`chance`); a measure that does not
            exceed it gets no threshold.
        targets: FNMRs to reach; empty: half of the FNMR with nothing discarded.
        note: a remark on every threshold.
    """
    rows = []
    bars: dict[float, float] = {}
    for result in results:
        if result.curve.protocol != "fixed" or result.method not in at_hand:
            continue
        wanted = targets or [float(result.curve.fnmr[0]) / 2]
        found = [stops_paying(result.curve), *(reaching(result.curve, target) for target in wanted)]
        fmr = result.curve.fmr
        if fmr not in bars:
            bars[fmr] = by_chance(result.curve)
        if not largest_gain(result.curve) > bars[fmr]:
            found = [like_random(result.curve, recommendation) for recommendation in found]
        for place, recommendation in enumerate(found):
            band = (math.nan, math.nan)
            if place == 0 and result.bands is not None:
                band = float(result.bands.numbers_low[-1]), float(result.bands.numbers_high[-1])
            rows.append(_row(dataset, fr_model, result, recommendation, at_hand[result.method], band, note))
    return rows


def _row(
    dataset: str,
    fr_model: str,
    result: Result,
    recommendation: Recommendation,
    table: Qualities,
    band: tuple[float, float],
    note: str,
) -> dict[str, Any]:
    quality = recommendation.min_quality
    known = np.isfinite(quality)
    costs = cost(table.values, table.labels, quality if known else -math.inf)
    shown = math.nan
    if known:  # with few decimals, but keeping the same pairs and the same images
        others = np.concatenate([table.values, result.curve.quality])
        shown = short_threshold(quality, others[np.isfinite(others)])
    return {
        "dataset": dataset,
        "fr_model": fr_model,
        "method": result.method,
        "fmr": recommendation.fmr,
        "kind": recommendation.kind,
        "target_fnmr": recommendation.target,
        "min_quality": shown,
        # A percentile interval may not contain its estimate, but readers expect it to.
        "min_quality_low": min(band[0], shown) if known else math.nan,
        "min_quality_high": max(band[1], shown) if known else math.nan,
        "discard": recommendation.discard,
        "fnmr_before": recommendation.fnmr_before,
        "fnmr": recommendation.fnmr,
        "images": costs.images,
        "images_dropped": costs.images_dropped,
        "identities": costs.identities,
        "identities_dropped": costs.identities_dropped,
        "note": recommendation.note or note,
    }
