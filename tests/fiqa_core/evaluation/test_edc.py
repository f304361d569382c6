"""Error-versus-discard curves: equal to the CR-FIQA code's own, and to the definitions on any small set of pairs."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiqa_core.evaluation import edc
from fiqa_core.evaluation.comparisons import Comparisons, dissimilarities
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.errors import EvaluationError, UnmeasurableFmrError
from tests.fiqa_core.evaluation import reference
from tests.shared import SHARED, needs_shared

GOLDEN = SHARED / "golden" / "edc"


@pytest.fixture(scope="module")
def golden():
    pairs = np.loadtxt(GOLDEN / "pairs.txt", dtype=int)
    quality = np.load(GOLDEN / "quality.npy")
    order = QualityOrder.of(np.minimum(quality[pairs[:, 0]], quality[pairs[:, 1]]))
    return np.load(GOLDEN / "embeddings.npy"), pairs, order, json.loads((GOLDEN / "expected.json").read_text())


@needs_shared
@pytest.mark.parametrize(("score", "name"), [("arccos", "cosine"), ("euclidean", "euclidean")])
def test_the_crfiqa_protocol_gives_the_curves_and_areas_of_the_original_code(golden, score, name):
    embeddings, pairs, order, expected = golden
    values = dissimilarities(embeddings, pairs[:, 0], pairs[:, 1], score)
    comparisons = Comparisons.of(values, pairs[:, 2] == 1)
    curves = edc.crfiqa(comparisons, order, [1e-2, 1e-3, 1e-4], allow_unmeasurable=True)
    for curve, target in zip(curves, ("1e-2", "1e-3", "1e-4"), strict=True):
        np.testing.assert_allclose(curve.discard, expected[name]["discard"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(curve.fnmr, expected[name]["fnmr"][target], rtol=0, atol=1e-12)
        assert curve.area() == pytest.approx(expected[name]["auc"][target], abs=1e-12)


@st.composite
def small_sets(draw):
    """A few pairs with many ties in dissimilarity and quality, and how often each counts."""
    count = draw(st.integers(2, 14))
    values = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    quality = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    mated = draw(st.lists(st.booleans(), min_size=count - 2, max_size=count - 2))
    copies = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    fmr = draw(st.sampled_from([0.01, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.99]))
    return np.array(values) / 8, np.array([True, False, *mated]), np.array(quality, float), np.array(copies), fmr


@settings(max_examples=120, deadline=None)
@given(small_sets())
def test_crfiqa_follows_its_definition(case):
    values, mated, quality, copies, fmr = case
    order = QualityOrder.of(quality)
    comparisons = Comparisons.of(values, mated)
    for number in (np.ones_like(copies), copies):
        repeated = np.repeat(np.arange(len(values)), number)
        if not number[mated].any() or not number[~mated].any():
            continue
        [curve] = edc.crfiqa(comparisons, order, [fmr], number, allow_unmeasurable=True)
        expected = reference.crfiqa(values[repeated], mated[repeated], quality[repeated], fmr)
        for step, point in enumerate(expected):
            found = curve.fnmr[step], curve.threshold[step], curve.achieved_fmr[step]
            assert found == pytest.approx(point if point else (np.nan,) * 3, abs=1e-12, nan_ok=True)


@settings(max_examples=120, deadline=None)
@given(small_sets())
def test_fixed_follows_its_definition(case):
    values, mated, quality, copies, fmr = case
    order = QualityOrder.of(quality)
    comparisons = Comparisons.of(values, mated)
    for number in (np.ones_like(copies), copies):
        repeated = np.repeat(np.arange(len(values)), number)
        if not number[mated].any() or not number[~mated].any():
            continue
        [curve] = edc.fixed(comparisons, order, [fmr], number, allow_unmeasurable=True)
        expected = reference.fixed(values[repeated], mated[repeated], quality[repeated], fmr)
        found = np.stack([curve.discard, curve.fnmr, curve.achieved_fmr], axis=1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_targets_far_down_a_long_list_are_found_where_sorting_everything_finds_them():
    random = np.random.default_rng(3)
    values, mated = random.random(30_000).round(4), random.random(30_000) < 0.2
    quality = values * (random.random(30_000) < 0.9)  # the worst pairs are the most alike: the tail moves
    curves = edc.crfiqa(Comparisons.of(values, mated), QualityOrder.of(quality), [0.001, 0.2])
    for curve in curves:
        for step in (0, 10, 19):
            left = np.argsort(quality, kind="stable")[int(edc.GRID[step] * len(values)) :]
            impostor = values[left][~mated[left]]
            candidates = np.unique(values[left])[::-1]
            rates = np.searchsorted(np.sort(impostor), candidates, "right") / len(impostor)
            assert curve.threshold[step] == candidates[np.argmin(np.abs(rates - curve.fmr))]


def test_a_target_below_one_in_the_non_mated_pairs_is_refused_with_their_number():
    edc.check_measurable(100, [0.01])
    edc.check_measurable(100, [0.001], allow_unmeasurable=True)
    with pytest.raises(UnmeasurableFmrError, match=r"0\.001 cannot be measured with 100 non-mated pairs.*0\.01"):
        edc.check_measurable(100, [0.001])
    with pytest.raises(EvaluationError, match="is not between 0 and 1"):
        edc.check_measurable(100, [1e2])


def test_where_too_few_non_mated_pairs_remain_a_point_is_unknown_and_so_is_the_area_beyond():
    random = np.random.default_rng(0)
    comparisons = Comparisons.of(random.random(400), np.arange(400) % 2 == 0)
    order = QualityOrder.of(random.random(400))
    [curve] = edc.crfiqa(comparisons, order, [0.01])
    assert np.array_equal(np.isnan(curve.fnmr), curve.n_nonmated < 100)
    assert np.isnan(curve.area())
    assert curve.area(0.3) > 0


def test_areas_are_trapezoids_for_crfiqa_and_steps_for_fixed():
    same = np.zeros(3)
    points = [np.array([0, 0.1, 0.5]), same, same, same, same, np.array([0.4, 0.2, 0.1]), same]
    assert edc.Curve("crfiqa", 0.01, *points).area(0.1) == pytest.approx(0.03)
    assert edc.Curve("fixed", 0.01, *points).area(0.3) == pytest.approx(0.1 * 0.4 + 0.2 * 0.2)
    assert edc.Curve("fixed", 0.01, *points).at(np.array([0.0, 0.09, 0.1, 0.7])).tolist() == [0.4, 0.4, 0.2, 0.1]


def test_an_embedding_without_direction_is_refused_with_its_pair():
    embeddings = np.array([[1.0, 0.0], [0.0, 0.0], [0.6, 0.8]], np.float32)
    values = dissimilarities(embeddings, np.array([0, 0]), np.array([2, 1]))
    assert values[0] == pytest.approx(np.arccos(0.6) / np.pi, abs=1e-7)
    with pytest.raises(EvaluationError, match="pair 2: its dissimilarity is nan"):
        Comparisons.of(values, np.array([True, False]))
