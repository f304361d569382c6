"""All curves of one dataset and one face recognition model: every quality measure and the two bounds."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fiqa_core.evaluation import edc
from fiqa_core.evaluation.bootstrap import INTERVAL, Bands, Resampling, bands
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.recommend import stops_paying
from fiqa_core.evaluation.reference_curves import FINE_GRID, mean_curve, oracle, random_orders

RANDOM, ORACLE = "random", "oracle"
AREA_LIMITS = (edc.FULL, 0.3, 0.2)
_PROTOCOLS = {"crfiqa": edc.crfiqa, "fixed": edc.fixed}


@dataclass(frozen=True)
class StudySettings:
    """What is computed.

    `fmrs`: duplicates are computed once. `replicates`: resamples of the bootstrap, 0 = no bands.
    `random_seeds`: number of random curves that are averaged.
    """

    protocols: tuple[str, ...] = edc.PROTOCOLS
    fmrs: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    allow_unmeasurable: bool = False
    replicates: int = 0
    random_seeds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "protocols", tuple(dict.fromkeys(self.protocols)))
        object.__setattr__(self, "fmrs", tuple(dict.fromkeys(self.fmrs)))


@dataclass(frozen=True)
class Result:
    """One curve with its areas (to each of `AREA_LIMITS`) and its bands, if any.

    `numbers` are the areas, then (`fixed` only) the quality below which discarding pays; `bands` are of both.
    """

    method: str
    curve: Curve
    numbers: np.ndarray
    bands: Bands | None


def study(
    pairs: Pairs,
    comparisons: Comparisons,
    methods: Mapping[str, np.ndarray],
    subjects: np.ndarray | None,
    settings: StudySettings,
) -> Iterator[Result]:
    """Curves of each quality measure, then of `random` and `oracle`.

    Args:
        methods: quality of each name of the pair list, float64 (I,), by measure; higher = better.
        subjects: int (I,), who each name shows; needed for bands.
    """
    resampling = None
    if settings.replicates and subjects is not None:
        resampling = Resampling(subjects, settings.replicates, settings.seed)
    for method, quality in methods.items():
        order = QualityOrder.of(np.minimum(quality[pairs.a], quality[pairs.b]))
        for protocol in settings.protocols:
            curves_of = functools.partial(_PROTOCOLS[protocol], comparisons, order, settings.fmrs)
            curves = curves_of(allow_unmeasurable=settings.allow_unmeasurable)
            found: list[Bands] | list[None] = [None] * len(curves)
            if resampling is not None:
                found = bands(
                    curves, pairs, resampling, functools.partial(curves_of, allow_unmeasurable=True), _numbers
                )
            for curve, band in zip(curves, found, strict=True):
                yield Result(method, curve, _numbers(curve), band)
    yield from _random(pairs, comparisons, settings)
    order = oracle(comparisons)
    for protocol in settings.protocols:
        for curve in _PROTOCOLS[protocol](comparisons, order, settings.fmrs, None, settings.allow_unmeasurable):
            yield Result(ORACLE, curve.thinned(FINE_GRID) if protocol == "fixed" else curve, _areas(curve), None)


def _random(pairs: Pairs, comparisons: Comparisons, settings: StudySettings) -> Iterator[Result]:
    drawn: dict[tuple[str, float], list[Curve]] = {}
    for order in random_orders(pairs, settings.random_seeds, settings.seed):
        for protocol in settings.protocols:
            for curve in _PROTOCOLS[protocol](comparisons, order, settings.fmrs, None, settings.allow_unmeasurable):
                drawn.setdefault((protocol, curve.fmr), []).append(curve)
    for curves in drawn.values():
        middle, low, high = mean_curve(curves)
        areas = np.stack([_areas(curve) for curve in curves])
        areas_low, areas_high = np.quantile(areas, INTERVAL, axis=0)
        yield Result(RANDOM, middle, areas.mean(axis=0), Bands(low, high, areas_low, areas_high))


def _areas(curve: Curve) -> np.ndarray:
    return np.array([curve.area(limit) for limit in AREA_LIMITS])


def _numbers(curve: Curve) -> np.ndarray:
    areas = _areas(curve)
    return np.append(areas, stops_paying(curve).min_quality) if curve.protocol == "fixed" else areas
