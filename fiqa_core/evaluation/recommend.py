"""Recommended quality thresholds, derived from an EDC with a fixed threshold, and their cost in images."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.errors import EvaluationError

NOT_MEASURABLE = "FMR not measurable"
NEVER_PAYS = "never pays"
NOWHERE = "no threshold reaches it"
ALREADY_THERE = "already there"
LIKE_RANDOM = "not distinguishable from random"
_ROUNDING = 1e-9
_NO_DECIMALS = 1e15  # a double of this size is a whole number


@dataclass(frozen=True)
class Recommendation:
    """One threshold and its effect.

    Attributes:
        kind: `stops_paying` or `target`. target: the FNMR asked for (NaN for `stops_paying`).
        min_quality: images of at least this quality are kept; NaN without a threshold.
        discard: share of the mated pairs that are discarded. fnmr_before, fnmr: without and with it.
        note: why there is no threshold; empty if there is one.
    """

    kind: str
    fmr: float
    target: float
    min_quality: float
    discard: float
    fnmr_before: float
    fnmr: float
    note: str = ""


@dataclass(frozen=True)
class Cost:
    """The cost of a threshold on a set: scored images that are dropped, and identities that lose all their images."""

    images: int
    images_dropped: int
    identities: int
    identities_dropped: int


def stops_paying(curve: Curve) -> Recommendation:
    """The quality below which discarding pays.

    A pair is worth discarding as long as pairs of its quality fail more often than the average pair of the whole
    set; discarding at random would do as well from there on. That is where the errors removed lie furthest above
    what random discarding would have removed (the largest of errors(q) - FNMR * pairs(q) over what is below q), so
    no smoothing has to be chosen. NaN where discarding by this measure never pays.
    """
    _need_fixed(curve)
    if np.isnan(curve.fnmr[0]):
        return _none(curve, "stops_paying", math.nan, NOT_MEASURABLE)
    gain = _gains(curve)
    best = int(np.argmax(gain))
    if gain[best] <= _ROUNDING:
        return _none(curve, "stops_paying", math.nan, NEVER_PAYS)
    return _at(curve, "stops_paying", math.nan, best)


def largest_gain(curve: Curve) -> float:
    """The largest number of errors that discarding by a measure removes beyond random discarding; >= 0 or NaN."""
    return float(_gains(curve).max())


def _gains(curve: Curve) -> np.ndarray:
    failed = curve.fnmr * curve.n_mated
    return np.asarray((failed[0] - failed) - curve.fnmr[0] * (curve.n_mated[0] - curve.n_mated))


def reaching(curve: Curve, target: float) -> Recommendation:
    """The lowest quality threshold at which the FNMR is at most the target; NaN if none, or if none is needed."""
    _need_fixed(curve)
    if np.isnan(curve.fnmr[0]):
        return _none(curve, "target", target, NOT_MEASURABLE)
    there = np.flatnonzero(curve.fnmr <= target)
    if not len(there):
        return _none(curve, "target", target, NOWHERE)
    return _at(curve, "target", target, int(there[0])) if there[0] else _none(curve, "target", target, ALREADY_THERE)


def like_random(curve: Curve, recommendation: Recommendation) -> Recommendation:
    """The same recommendation without its threshold, because random qualities would do as well."""
    if recommendation.note:
        return recommendation
    return _none(curve, recommendation.kind, recommendation.target, LIKE_RANDOM)


def _need_fixed(curve: Curve) -> None:
    if curve.protocol != "fixed":
        raise EvaluationError("a threshold is read off a curve of the protocol `fixed`, where a point has a quality")


def _none(curve: Curve, kind: str, target: float, note: str) -> Recommendation:
    return Recommendation(kind, curve.fmr, target, math.nan, math.nan, float(curve.fnmr[0]), math.nan, note)


def _at(curve: Curve, kind: str, target: float, place: int) -> Recommendation:
    quality, discard, fnmr = (float(column[place]) for column in (curve.quality, curve.discard, curve.fnmr))
    return Recommendation(kind, curve.fmr, target, quality, discard, float(curve.fnmr[0]), fnmr)


def short_threshold(quality: float, others: np.ndarray) -> float:
    """The number with the fewest decimals that keeps the same images: above every quality below, at most this one.

    It does so whether it is compared in double or in single precision.

    Args:
        quality: the lowest that is kept. others: float (N,), qualities of images.
    """
    below = others[others < quality]
    previous = float(below.max()) if len(below) else -math.inf
    if abs(quality) >= _NO_DECIMALS:
        return quality
    for digits in range(1, 18):
        shown = float(f"{math.floor(quality * 10**digits) / 10**digits:.{digits}f}")
        if all(previous < number <= quality for number in (shown, float(np.float32(shown)))):
            return shown
    return quality


def cost(values: np.ndarray, labels: pa.Array | None, min_quality: float) -> Cost:
    """The cost of keeping only images of at least a quality.

    Args:
        values: float (N,), qualities (NaN: not scored, not counted). labels: string (N,), identities; None: none.
    """
    scored = ~np.isnan(values)
    dropped = scored & (values < min_quality)
    identities = lost = 0
    if labels is not None:
        codes = labels.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        named = scored & ~np.isnan(codes.astype(np.float64))
        has = np.bincount(codes[named].astype(np.int64))
        keeps = np.bincount(codes[named & ~dropped].astype(np.int64), minlength=len(has))
        identities, lost = int((has > 0).sum()), int(((has > 0) & (keeps == 0)).sum())
    return Cost(int(scored.sum()), int(dropped.sum()), identities, lost)
