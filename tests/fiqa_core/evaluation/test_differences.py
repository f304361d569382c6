"""Paired differences of measures, and images that are poor for all judges and measures or for one only."""

import math

import numpy as np
import pytest

from fiqa_core.evaluation.bootstrap import Resampling
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.differences import difference_rows, measure_to_compare_with
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.edc import crfiqa, fixed
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.poor_images import JudgedImages, failed_pairs
from fiqa_core.evaluation.study import StudySettings, study

PEOPLE, IMAGES = 30, 4


@pytest.fixture(scope="module")
def faces():
    """Pairs, subjects, and dissimilarities that grow as the worse image of a pair gets worse."""
    random = np.random.default_rng(3)
    count = PEOPLE * IMAGES
    subjects, quality = np.repeat(np.arange(PEOPLE), IMAGES), random.random(count)
    a, b = (side.astype(np.int32) for side in np.triu_indices(count, 1))
    mated = subjects[a] == subjects[b]
    values = np.where(mated, 0.75 - 0.5 * np.minimum(quality[a], quality[b]), 0.8) + random.normal(0, 0.08, len(a))
    return Pairs([str(i) for i in range(count)], a, b, mated), subjects, Comparisons.of(values, mated), quality


def results_of(faces, replicates, **methods):
    pairs, subjects, comparisons, _ = faces
    settings = StudySettings(fmrs=(0.01,), replicates=replicates, random_seeds=2)
    return list(study(pairs, comparisons, methods, subjects, settings))


def test_a_difference_is_paired_over_the_same_resampled_subjects(faces):
    pairs, subjects, comparisons, quality = faces
    noisy = quality + np.random.default_rng(4).normal(0, 0.3, len(quality))
    results = results_of(faces, 25, good=quality, noisy=noisy)
    rows = difference_rows("d", "fr", results, ["good", "noisy"], "good")
    assert [(row["method"], row["against"]) for row in rows] == [("noisy", "good")] * 2
    for row, curves_of in zip(rows, (crfiqa, fixed), strict=True):
        one, other = (QualityOrder.of(np.minimum(q[pairs.a], q[pairs.b])) for q in (noisy, quality))
        expected = [
            curves_of(comparisons, one, [0.01], copies, True)[0].area(0.3)
            - curves_of(comparisons, other, [0.01], copies, True)[0].area(0.3)
            for copies in Resampling(subjects, 25).copies(pairs)
        ]
        assert row["auc_30_low"] == pytest.approx(np.quantile(expected, 0.025))
        assert row["auc_30_high"] == pytest.approx(np.quantile(expected, 0.975))
        assert row["verdict"] == "worse"


def test_a_measure_does_not_differ_from_its_own_copy_and_both_ways_have_opposite_verdicts(faces):
    quality = faces[3]
    results = results_of(faces, 10, one=quality, same=2 * quality, reverse=-quality)
    rows = {row["method"]: row for row in difference_rows("d", "fr", results, ["one", "same", "reverse"], "one")[:2]}
    assert rows["same"]["auc_30"] == rows["same"]["auc_30_low"] == rows["same"]["auc_30_high"] == 0
    assert (rows["same"]["verdict"], rows["reverse"]["verdict"]) == ("undecided", "worse")
    [back] = [
        row
        for row in difference_rows("d", "fr", results, ["one", "same", "reverse"], "reverse")
        if row["method"] == "one" and row["protocol"] == "crfiqa"
    ]
    assert back["verdict"] == "better"
    assert back["auc_30_low"] == pytest.approx(-rows["reverse"]["auc_30_high"])


def test_without_resamples_a_difference_has_no_band_and_no_verdict(faces):
    quality = faces[3]
    [row, _] = difference_rows("d", "fr", results_of(faces, 0, one=quality, two=-quality), ["one", "two"], "one")
    assert row["auc_30"] > 0
    assert math.isnan(row["auc_30_low"])
    assert row["verdict"] == ""


def test_the_measure_to_compare_with_is_named_or_the_first():
    assert measure_to_compare_with("", ["x", "y"], "lfw") == "x"
    assert measure_to_compare_with("y", ["x", "y"], "lfw") == "y"
    with pytest.raises(EvaluationError, match="--against-measure z: lfw has no measure of that name; it has x, y"):
        measure_to_compare_with("z", ["x", "y"], "lfw")


@pytest.fixture
def crowd():
    """Four people with four images; image 0 fails for both judges, image 5 for the first only."""
    subjects = np.repeat(np.arange(4), 4)
    a, b = (side.astype(np.int32) for side in np.triu_indices(16, 1))
    mated = subjects[a] == subjects[b]
    pairs = Pairs([f"i{place}" for place in range(16)], a, b, mated)

    def judge(*fails):
        bad = np.isin(a, fails) | np.isin(b, fails)
        return Comparisons.of(np.where(mated & ~bad, 0.1, np.where(mated, 0.9, 0.5)), mated)

    return pairs, judge(0, 5), judge(0)


def test_an_image_that_fails_for_every_judge_and_measure_is_to_drop_and_for_one_only_to_keep(crowd):
    pairs, first, second = crowd
    judged = JudgedImages(pairs, [0.02])
    judged.add("first", first)
    judged.add("second", second)
    sees = np.arange(16.0)  # its worst two are images 0 and 1
    also = np.where(np.isin(np.arange(16), [0, 2]), 0.0, 1.0)
    rows = {row["image"]: row for row in judged.rows("d", {"sees": sees, "also": also})}
    assert {image: row["advice"] for image, row in rows.items()} == {
        "i0": "drop",
        "i1": "keep",
        "i2": "keep",
        "i5": "keep",
    }
    assert rows["i0"]["judges_names"] == "first second"
    assert rows["i0"]["measures_names"] == "sees also"
    assert (rows["i5"]["judges_names"], rows["i5"]["measures"]) == ("first", 0)
    assert rows["i0"]["failing"] == 1
    assert rows["i5"]["failing"] == pytest.approx(1 / 2)


def test_images_that_tie_at_the_edge_of_a_measure_are_all_taken_or_none(crowd):
    pairs, first, _ = crowd
    judged = JudgedImages(pairs, [0.02])
    judged.add("first", first)
    judged.add("again", first)
    rows = judged.rows("d", {"constant": np.ones(16)})
    assert [row["image"] for row in rows] == ["i0", "i5"]
    assert {row["measures"] for row in rows} == {0}


def test_a_target_that_cannot_be_measured_makes_no_image_poor(crowd):
    pairs, first, _ = crowd
    [failed] = failed_pairs(first, [1e-6])
    assert not failed.any()
    judged = JudgedImages(pairs, [1e-6])
    judged.add("first", first)
    judged.add("second", first)
    assert judged.rows("d", {"q": np.arange(16.0)}) == []
