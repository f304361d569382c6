"""Make a calibration: percentiles of a set's scores, and predicted FNMR by score, monotone, with a band.

Predicted FNMR of a score: the share of mated pairs that the recogniser refuses at a fixed threshold, among pairs that
have an image of this score. Each mated pair is counted at the scores of both of its images. The fit is isotonic: it
never rises with the score, and has no bandwidth to choose. The band is a bootstrap over subjects, with the threshold
set anew in each resample.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core.evaluation.bootstrap import Resampling, interval
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.edc import check_measurable
from fiqa_core.evaluation.monotone import falling_fit
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.poor_images import failed_pairs
from fiqa_core.scoring.calibration import FORMAT, VERSION
from schemas import versions

_BINS = 2000  # of equally many images; a fit is a loop over them
_PERCENTILES = 501


@dataclass(frozen=True)
class JudgedSet:
    """The reference set as a recogniser sees it.

    Attributes:
        pairs, comparisons: of its images. quality: float64 (I,), of each name of `pairs`; higher = better.
        subjects: int64 (I,), who each name shows.
        all_quality: float64 (M,), scores of all images of the set, also those in no pair; all_names: their names.
    """

    pairs: Pairs
    comparisons: Comparisons
    quality: np.ndarray
    subjects: np.ndarray
    all_quality: np.ndarray
    all_names: list[str]


def calibration_file(
    judged: JudgedSet,
    network: Mapping[str, Any],
    names: tuple[str, str],
    fmr: float = 1e-3,
    replicates: int = 200,
    seed: int = 0,
) -> bytes:
    """The JSON file of a calibration (`fiqa_core.scoring.calibration`); the same input gives the same bytes.

    Args:
        network: `arch`, `mode`, `checkpoint_sha256`. names: of the set and of the recogniser.

    Raises:
        UnmeasurableFmrError: the target is below 1 / (non-mated pairs).
    """
    nonmated = int((~judged.pairs.mated).sum())
    check_measurable(nonmated, [fmr])
    content = {
        "format": FORMAT,
        "version": VERSION,
        "package_version": versions.PACKAGE_VERSION,
        "network": dict(network),
        "set": names[0],
        "set_digest": _digest(judged.all_names),
        "judge": names[1],
        "fmr": fmr,
        "images": len(judged.all_quality),
        "subjects": len(np.unique(judged.subjects)),
        "mated_pairs": int(judged.pairs.mated.sum()),
        "nonmated_pairs": nonmated,
        "replicates": replicates,
        "fnmr": float(failed_pairs(judged.comparisons, [fmr])[0][judged.pairs.mated].mean()),
        "percentile": _percentiles(judged.all_quality),
        "predicted_fnmr": _predicted(judged, fmr, replicates, seed),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _percentiles(scores: np.ndarray) -> dict[str, list[float]]:
    """Share of lower scores (half of the equal ones counted) at up to `_PERCENTILES` distinct scores."""
    distinct, counts = np.unique(scores, return_counts=True)
    share = 100 * (np.cumsum(counts) - counts / 2) / len(scores)
    places = np.unique(np.rint(np.linspace(0, len(distinct) - 1, _PERCENTILES)).astype(int))
    return {"quality": distinct[places].tolist(), "percentile": np.round(share[places], 4).tolist()}


def _predicted(judged: JudgedSet, fmr: float, replicates: int, seed: int) -> dict[str, list[float]]:
    scores = _Scores.of(judged)
    once = np.ones(len(judged.pairs), np.int32)
    distinct, fit, weight = scores.fit(failed_pairs(judged.comparisons, [fmr])[0], once)
    edges = np.flatnonzero(np.append(True, fit[1:] < fit[:-1]))
    ends = np.append(edges[1:], len(fit)) - 1
    places = np.unique(np.concatenate([edges, ends]))
    knots = distinct[places]
    samples = []
    for copies in Resampling(judged.subjects, replicates, seed).copies(judged.pairs):
        if not copies[judged.pairs.mated].any() or not copies[~judged.pairs.mated].any():
            continue
        again, values, _ = scores.fit(failed_pairs(judged.comparisons, [fmr], copies)[0], copies)
        samples.append(np.interp(knots, again, values))
    low, high = interval(np.stack(samples)) if samples else (np.zeros(len(knots)), np.ones(len(knots)))
    pairs = np.add.reduceat(weight, edges)[np.searchsorted(edges, places, "right") - 1]
    return {
        "quality": knots.tolist(),
        "fnmr": np.round(fit[places], 6).tolist(),
        "low": np.round(low, 6).tolist(),
        "high": np.round(high, 6).tolist(),
        "pairs": pairs.astype(int).tolist(),
    }


@dataclass(frozen=True)
class _Scores:
    """Scores of images in bins: `bin` of each image, `middle` score of each bin, ascending."""

    pairs: Pairs
    bin: np.ndarray
    middle: np.ndarray

    @classmethod
    def of(cls, judged: JudgedSet) -> "_Scores":
        pairs = judged.pairs
        used = np.zeros(len(pairs.names), bool)
        used[pairs.a[pairs.mated]] = used[pairs.b[pairs.mated]] = True
        distinct = np.unique(judged.quality[used])
        if len(distinct) > _BINS:
            distinct = np.unique(np.quantile(judged.quality[used], np.linspace(0, 1, _BINS), method="nearest"))
        edges = (distinct[1:] + distinct[:-1]) / 2
        return cls(pairs, np.searchsorted(edges, judged.quality, "right"), distinct)

    def fit(self, failed: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores (ascending), predicted FNMR and number of pairs; `failed` bool (N,), `copies` int (N,) of pairs."""
        mated = self.pairs.mated
        a, b = self.bin[self.pairs.a[mated]], self.bin[self.pairs.b[mated]]
        own = copies[mated].astype(np.float64)
        lost = own * failed[mated]
        size = len(self.middle)
        weight = np.bincount(a, own, size) + np.bincount(b, own, size)
        errors = np.bincount(a, lost, size) + np.bincount(b, lost, size)
        there = weight > 0
        fit = falling_fit(errors[there] / weight[there], weight[there])
        return self.middle[there], fit, weight[there]
