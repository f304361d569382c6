"""Calibrations: the monotone fit, predicted FNMR and its band, percentiles, and pairs made of labels."""

import itertools
import json

import numpy as np
import pytest

from fiqa_core.evaluation.balanced_pairs import balanced_pairs
from fiqa_core.evaluation.calibrate import JudgedSet, calibration_file
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.errors import EvaluationError, UnmeasurableFmrError
from fiqa_core.evaluation.monotone import falling_fit
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.scoring.calibration import parse_calibration

NETWORK = {"arch": "vit_t", "mode": "token", "checkpoint_sha256": "a" * 64}


@pytest.mark.parametrize("seed", range(5))
def test_the_monotone_fit_is_the_one_of_the_min_max_formula(seed):
    random = np.random.default_rng(seed)
    values, weights = random.random(25).round(1), random.integers(1, 5, 25).astype(float)

    def mean(first, last):
        return np.average(values[first : last + 1], weights=weights[first : last + 1])

    expected = [min(max(mean(first, last) for last in range(i, 25)) for first in range(i + 1)) for i in range(25)]
    np.testing.assert_allclose(falling_fit(values, weights), expected, atol=1e-12)


def judged(people=40, images=5, seed=1):
    random = np.random.default_rng(seed)
    subjects, quality = np.repeat(np.arange(people), images), random.random(people * images)
    a, b = (side.astype(np.int32) for side in np.triu_indices(people * images, 1))
    mated = subjects[a] == subjects[b]
    values = np.where(mated, 0.75 - 0.6 * np.minimum(quality[a], quality[b]), 0.8) + random.normal(0, 0.08, len(a))
    names = [f"i{place}" for place in range(people * images)]
    return JudgedSet(Pairs(names, a, b, mated), Comparisons.of(values, mated), quality, subjects, quality, names)


def test_predicted_fnmr_falls_with_the_score_and_its_mean_is_the_fnmr_of_the_set():
    one = judged()
    data = calibration_file(one, NETWORK, ("made", "judge"), 0.01, 30)
    made, content = parse_calibration(data, "made.json"), json.loads(data)
    assert (np.diff(made.fnmr) <= 0).all()
    assert made.fnmr[0] > 0.5 > 0.05 > made.fnmr[-1]
    assert (np.array(made.low) <= np.array(made.fnmr) + 1e-6).mean() > 0.9
    assert (np.array(made.fnmr) <= np.array(made.high) + 1e-6).mean() > 0.9
    mated = one.pairs.mated
    both = np.concatenate([one.pairs.a[mated], one.pairs.b[mated]])
    assert made.predicted_fnmr(one.quality[both]).mean() == pytest.approx(content["fnmr"], abs=1e-5)
    assert calibration_file(one, NETWORK, ("made", "judge"), 0.01, 30) == data


def test_a_percentile_is_the_share_of_images_with_a_lower_score():
    one = judged()
    made = parse_calibration(calibration_file(one, NETWORK, ("made", "judge"), 0.01, 2), "x")
    for score in (0.1, 0.5, 0.93):
        assert made.percentiles(np.array([score]))[0] == pytest.approx(100 * (one.all_quality < score).mean(), abs=0.5)
    assert made.percentiles(np.array([-1.0, 2.0, np.nan])).tolist()[:2] == [0, 100]
    assert np.isnan(made.percentiles(np.array([np.nan]))[0])


def test_a_target_rate_that_the_set_cannot_show_is_refused():
    with pytest.raises(UnmeasurableFmrError, match="1e-09"):
        calibration_file(judged(6, 3), NETWORK, ("made", "judge"), 1e-9, 2)


def test_pairs_of_labels_take_a_few_images_of_each_person_in_any_order():
    names = [f"{person}{image}" for person in "abc" for image in range(4)] + ["d0"]
    labels = [name[0] for name in names]
    pairs = balanced_pairs(names, labels, per_identity=3)
    assert int(pairs.mated.sum()) == 3 * 3
    assert len(pairs.names) == 10
    for a, b, mated in zip(pairs.a, pairs.b, pairs.mated, strict=True):
        assert (pairs.names[a][0] == pairs.names[b][0]) == mated
    again = balanced_pairs(names[::-1], labels[::-1], per_identity=3)
    assert again.names == pairs.names
    assert np.array_equal(again.a, pairs.a)


def test_non_mated_pairs_are_a_sample_without_repetition_where_there_are_many():
    names = [f"{person:03}-{image}" for person, image in itertools.product(range(60), range(2))]
    for most in (500, 4000):
        pairs = balanced_pairs(names, [name[:3] for name in names], most=most)
        assert int((~pairs.mated).sum()) <= most
        assert int((~pairs.mated).sum()) > 0.9 * most
        assert pairs.repeated() == 0
        assert pairs.self_pairs() == 0


def test_labels_without_a_mated_pair_are_refused():
    with pytest.raises(EvaluationError, match="0 mated pairs of 3 identities"):
        balanced_pairs(["a", "b", "c"], ["x", "y", "z"])
