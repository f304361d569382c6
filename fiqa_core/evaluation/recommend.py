"""Which quality threshold to filter at: read off an EDC with a fixed threshold, and what it costs."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Recommendation:
    """One threshold and what it does.

    Attributes:
        kind: `stops_paying` or `target`. target: the FNMR asked for (NaN for `stops_paying`).
        min_quality: images of at least this quality are kept; NaN if there is no such threshold.
        discard: share of the mated pairs that go. fnmr_before, fnmr: without and with it.
    """

    kind: str
    fmr: float
    target: float
    min_quality: float
    discard: float
    fnmr_before: float
    fnmr: float


@dataclass(frozen=True)
class Cost:
    """What a threshold takes from a set: images (of those scored) and identities that lose all of theirs."""

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
        return _at(curve, "stops_paying", math.nan, None)
    failed = curve.fnmr * curve.n_mated
    gain = (failed[0] - failed) - curve.fnmr[0] * (curve.n_mated[0] - curve.n_mated)
    best = int(np.argmax(gain))
    return _at(curve, "stops_paying", math.nan, best if gain[best] > 1e-9 else None)


def reaching(curve: Curve, target: float) -> Recommendation:
    """The lowest quality threshold at which the FNMR is at most the target; NaN if it never is."""
    _need_fixed(curve)
    there = np.flatnonzero(curve.fnmr <= target)
    return _at(curve, "target", target, int(there[0]) if len(there) else None)


def _need_fixed(curve: Curve) -> None:
    if curve.protocol != "fixed":
        raise EvaluationError("a threshold is read off a curve of the protocol `fixed`, where a point has a quality")


def _at(curve: Curve, kind: str, target: float, place: int | None) -> Recommendation:
    before = float(curve.fnmr[0])
    if place is None:
        return Recommendation(kind, curve.fmr, target, math.nan, math.nan, before, math.nan)
    # At the first point nothing is discarded: any threshold up to the lowest quality does that.
    quality = float(curve.quality[place])
    return Recommendation(
        kind, curve.fmr, target, quality, float(curve.discard[place]), before, float(curve.fnmr[place])
    )


def short_threshold(quality: float, others: np.ndarray) -> float:
    """The number with the fewest decimals that keeps the same images: above every quality below, at most this one.

    It does so whether it is compared in double or in single precision.

    Args:
        quality: the lowest that is kept. others: float (N,), qualities of images.
    """
    below = others[others < quality]
    previous = float(below.max()) if len(below) else -math.inf
    for digits in range(1, 18):
        shown = float(f"{math.floor(quality * 10**digits) / 10**digits:.{digits}f}")
        if all(previous < number <= quality for number in (shown, float(np.float32(shown)))):
            return shown
    return quality


def cost(values: np.ndarray, labels: pa.Array | None, min_quality: float) -> Cost:
    """What keeping only images of at least a quality takes from a set.

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
