"""Bootstrap over subjects, the bounds, and thresholds read off a curve."""

import math

import numpy as np
import pyarrow as pa
import pytest

from fiqa_core.evaluation import edc
from fiqa_core.evaluation.bootstrap import Bands, Resampling, bands, subjects_of
from fiqa_core.evaluation.chance import gain_by_chance
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.recommend import cost, largest_gain, reaching, short_threshold, stops_paying
from fiqa_core.evaluation.recommendations import recommendation_rows
from fiqa_core.evaluation.reference_curves import oracle
from fiqa_core.evaluation.sources import Qualities
from fiqa_core.evaluation.study import Result, StudySettings


@pytest.fixture(scope="module")
def faces():
    """Forty people with five images each: the worse an image, the less alike its mated pairs."""
    random = np.random.default_rng(1)
    subjects = np.repeat(np.arange(40), 5)
    quality = random.random(200)
    a, b = (side.astype(np.int32) for side in np.triu_indices(200, 1))
    mated = subjects[a] == subjects[b]
    noise = random.normal(0, 0.1, len(a))
    values = np.where(mated, 0.7 - 0.5 * np.minimum(quality[a], quality[b]), 0.8) + noise
    pairs = Pairs([str(i) for i in range(200)], a, b, mated)
    return pairs, subjects, Comparisons.of(values, mated), QualityOrder.of(np.minimum(quality[a], quality[b])), quality


def test_a_resample_counts_mated_pairs_by_their_subject_and_others_by_the_product(faces):
    pairs, subjects, *_ = faces
    for copies in Resampling(subjects, 3, seed=5).copies(pairs):
        # How often a subject was drawn is seen at any of its mated pairs.
        drawn = np.zeros(40, int)
        drawn[subjects[pairs.a[pairs.mated]]] = copies[pairs.mated]
        assert drawn.sum() == 40
        both = drawn[subjects[pairs.a]] * drawn[subjects[pairs.b]]
        assert np.array_equal(copies, np.where(pairs.mated, drawn[subjects[pairs.a]], both))


def test_bands_hold_the_curve_and_depend_on_the_seed_alone(faces):
    pairs, subjects, comparisons, order, _ = faces

    def again(copies=None):
        return edc.crfiqa(comparisons, order, [0.01], copies, allow_unmeasurable=True)

    def made(seed):
        numbers = lambda curve: np.array([curve.area(0.3)])  # noqa: E731
        return bands(again(), pairs, Resampling(subjects, 40, seed), again, numbers)[0]

    one, same, other = made(0), made(0), made(1)
    [curve] = again()
    inside = (one.fnmr_low <= curve.fnmr + 1e-6) & (curve.fnmr <= one.fnmr_high + 1e-6)
    assert inside[:10].all()
    assert one.numbers_low[0] < curve.area(0.3) < one.numbers_high[0]
    assert np.array_equal(one.fnmr_low, same.fnmr_low)
    assert not np.array_equal(one.fnmr_low, other.fnmr_low)


def test_without_labels_people_are_what_mated_pairs_join():
    pairs = Pairs(
        list("abcdef"),
        np.array([0, 3, 1, 0], np.int32),
        np.array([1, 4, 2, 5], np.int32),
        np.array([True, True, True, False]),
    )
    found = subjects_of(pairs, None)
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4]
    assert len(set(found.tolist())) == 3
    assert subjects_of(pairs, ["x", "x", "y", "y", "y", "z"]).tolist() == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("protocol", [edc.crfiqa, edc.fixed])
def test_no_measure_is_better_than_the_oracle(faces, protocol):
    _, _, comparisons, order, _ = faces
    [bound] = protocol(comparisons, oracle(comparisons), [0.01])
    [curve] = protocol(comparisons, order, [0.01])
    at = edc.GRID[:15]
    assert (bound.at(at) <= curve.at(at) + 1e-12).all()
    assert bound.area(0.3) < curve.area(0.3)


def curve_of(failed, quality=None):
    """A fixed-threshold curve of one mated pair a quality, worst first; `failed`: which are not accepted."""
    failed = np.array(failed)
    values = np.append(np.where(failed, 0.96, 0.1), [0.95] * 4 + [0.5])
    mated = np.arange(len(values)) < len(failed)
    own = np.arange(len(failed), dtype=float) if quality is None else np.array(quality)
    return edc.fixed(Comparisons.of(values, mated), QualityOrder.of(np.append(own, [0.0] * 5)), [0.2])[0]


def test_discarding_stops_paying_where_pairs_fail_no_more_than_the_average_pair():
    # Of ten pairs four fail; among the three worst two do, then one of two, then one of five.
    found = stops_paying(curve_of([1, 0, 1, 1, 0, 0, 0, 1, 0, 0]))
    assert (found.min_quality, found.discard) == (4.0, 0.4)
    assert (found.fnmr_before, found.fnmr) == pytest.approx((0.4, 1 / 6))
    assert math.isnan(stops_paying(curve_of([0, 0, 0, 1, 1])).min_quality)


def test_the_threshold_for_a_target_is_the_lowest_that_reaches_it():
    curve = curve_of([1, 0, 1, 0, 0, 0, 0, 1])
    assert reaching(curve, 0.2).min_quality == 3.0
    assert reaching(curve, 0.1).note == "no threshold reaches it"
    already = reaching(curve, 0.5)
    assert (already.note, math.isnan(already.min_quality)) == ("already there", True)


def test_a_threshold_is_shown_with_as_few_decimals_as_keep_the_same_images():
    quality = np.array([0.123456, 0.1239, 0.5, 3300.0], np.float32).astype(float)
    for lowest in quality:
        shown = short_threshold(lowest, quality)
        assert np.array_equal(quality >= shown, quality >= lowest)
        assert np.array_equal(quality.astype(np.float32) >= np.float32(shown), quality >= lowest)
    assert short_threshold(quality[1], quality) == 0.1238
    assert short_threshold(3300.0, quality) == 3300.0


def test_the_cost_counts_scored_images_and_identities_that_lose_all_of_theirs():
    values = np.array([0.1, 0.9, 0.2, 0.3, np.nan, 0.05])
    found = cost(values, pa.array(["a", "a", "b", "b", "c", None]), 0.5)
    assert (found.images, found.images_dropped, found.identities, found.identities_dropped) == (5, 4, 2, 1)
    assert cost(values, None, 0.5).identities == 0


def test_a_huge_quality_is_shown_as_it_is():
    assert short_threshold(3e300, np.array([1e300, 3e300])) == 3e300


@pytest.mark.parametrize("protocol", [edc.crfiqa, edc.fixed])
def test_a_resample_without_any_pair_has_unknown_points(faces, protocol):
    _, _, comparisons, order, _ = faces
    [curve] = protocol(comparisons, order, [0.01], np.zeros(len(comparisons.mated), np.int32))
    assert np.isnan(curve.fnmr).all()


def test_a_target_that_is_there_twice_is_the_same_curve_twice(faces):
    _, _, comparisons, order, _ = faces
    for protocol in (edc.crfiqa, edc.fixed):
        one, other = protocol(comparisons, order, [0.01, 0.01])
        assert np.array_equal(one.fnmr, other.fnmr)
    assert StudySettings(fmrs=(0.01, 0.1, 0.01)).fmrs == (0.01, 0.1)


def test_qualities_that_know_nothing_rarely_gain_more_than_chance_and_real_ones_do(faces):
    pairs, _, comparisons, order, quality = faces
    [curve] = edc.fixed(comparisons, order, [0.01])
    bar = gain_by_chance(pairs, comparisons, float(curve.threshold[0]), seed=0)
    assert largest_gain(curve) > bar > 0
    table = {"q": Qualities(KeyIndex(pairs.names, "table"), quality, None)}
    random = np.random.default_rng(7)
    above = 0
    for _ in range(40):
        noise = random.random(len(pairs.names))
        [blind] = edc.fixed(comparisons, QualityOrder.of(np.minimum(noise[pairs.a], noise[pairs.b])), [0.01])
        above += largest_gain(blind) > bar
        result = Result("q", blind, np.zeros(4), None)
        rows = recommendation_rows("set", "fr", [result], table, lambda _: bar)
        assert (rows[0]["note"] in ("not distinguishable from random", "never pays")) == (largest_gain(blind) <= bar)
        assert math.isnan(rows[0]["min_quality"]) == (largest_gain(blind) <= bar)
    assert above <= 6  # 2 expected; more than 6 of 40 at 5 % each happens once in 200 times


def test_a_threshold_keeps_the_same_pairs_whatever_table_costs_are_counted_on():
    curve = curve_of([1, 1, 1, 0, 0, 0], [0.1, 0.21, 0.2345, 0.2389, 0.5, 0.6])
    result = Result("q", curve, np.zeros(4), None)
    costs = {"q": Qualities(KeyIndex(["x", "y"], "other"), np.array([0.05, 0.9]), None)}
    [row, _] = recommendation_rows("set", "fr", [result], costs, lambda _: 0.0)
    assert row["min_quality"] == 0.238


def test_a_threshold_lies_in_its_band():
    curve = curve_of([1, 1, 1, 0, 0, 0])
    numbers = np.array([0.0, 0.0, 0.0, 4.0])
    band = Bands(curve.fnmr, curve.fnmr, numbers, numbers + 1)
    costs = {"q": Qualities(KeyIndex(["x"], "table"), np.array([2.5]), None)}
    [row, _] = recommendation_rows("set", "fr", [Result("q", curve, numbers, band)], costs, lambda _: 0.0)
    assert (row["min_quality_low"], row["min_quality"], row["min_quality_high"]) == (3.0, 3.0, 5.0)
