"""FNMR by group: one threshold for all, and the share of each group's pairs that a measure discards."""

import numpy as np
import pyarrow as pa
import pytest

from fiqa_core.evaluation.bootstrap import Resampling
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.group_errors import group_rows
from fiqa_core.evaluation.pairs import Pairs


@pytest.fixture
def faces():
    """Twelve people with four images; those of group b are further apart; one image has no group."""
    random = np.random.default_rng(0)
    subjects = np.repeat(np.arange(12), 4)
    a, b = (side.astype(np.int32) for side in np.triu_indices(48, 1))
    mated = subjects[a] == subjects[b]
    hard = subjects % 3 == 0
    values = np.where(mated, 0.3 + 0.15 * hard[a], 0.6) + random.normal(0, 0.1, len(a))
    groups = pa.array([None if image == 5 else "ba"[int(person % 3 != 0)] for image, person in enumerate(subjects)])
    return Pairs([str(i) for i in range(48)], a, b, mated), Comparisons.of(values, mated), values, groups, random


def test_each_group_has_its_own_error_rate_at_one_threshold(faces):
    pairs, comparisons, values, groups, random = faces
    quality = random.random(48).round(1)
    rows = group_rows("d", "fr", pairs, comparisons, {"q": quality}, groups, [0.05, 1e-6])
    assert {row["fmr"] for row in rows} == {0.05}  # the other cannot be measured with these pairs
    assert {row["group"] for row in rows} == {"a", "b", "(two groups)"}
    threshold = np.sort(values[~pairs.mated])[int(0.05 * (~pairs.mated).sum()) - 1]
    texts = np.array(["-" if text is None else text for text in groups.to_pylist()])
    worse = np.minimum(quality[pairs.a], quality[pairs.b])
    cut = {row["discard"]: np.sort(worse[pairs.mated])[int(row["discard"] * pairs.mated.sum() + 1e-9)] for row in rows}
    for row in rows:
        own = pairs.mated & (texts[pairs.a] == row["group"]) & (texts[pairs.b] == row["group"])
        if row["group"] == "(two groups)":
            own = pairs.mated & (texts[pairs.a] != texts[pairs.b])
        left = own & (worse >= cut[row["discard"]])
        assert (row["n_mated"], row["failed"]) == (own.sum(), (values[left] > threshold).sum())
        assert row["discarded"] == pytest.approx(1 - left.sum() / own.sum())
        assert row["fnmr"] == pytest.approx((values[left] > threshold).mean())
    at_0 = {row["group"]: row["fnmr"] for row in rows if row["discard"] == 0}
    assert at_0["b"] > at_0["a"]


def test_never_more_than_the_share_is_discarded_and_equal_qualities_go_together(faces):
    pairs, comparisons, _, groups, _ = faces
    rows = group_rows("d", "fr", pairs, comparisons, {"same": np.ones(48)}, groups, [0.05])
    assert {row["discarded"] for row in rows} == {0}
    mated = int(pairs.mated.sum())
    rows = group_rows("d", "fr", pairs, comparisons, {"q": np.arange(48.0)}, groups, [0.05])
    for share in (0.1, 0.2, 0.3):
        gone = sum(row["discarded"] * row["n_mated"] for row in rows if row["discard"] == share)
        assert 0 < gone <= share * mated + 1e-6


def test_the_bands_of_a_group_are_those_of_the_same_resamples_done_by_hand(faces):
    """Each drawn copy of a subject is written out as images of its own, and the plain count is made of them."""
    pairs, _, values, groups, random = faces
    quality = random.random(48).round(1)
    subjects = np.repeat(np.arange(12), 4)
    resampling = Resampling(subjects, 40, 3)
    rows = group_rows("d", "fr", pairs, Comparisons.of(values, pairs.mated), {"q": quality}, groups, [0.05], resampling)
    samples = []
    for number in range(40):
        drawn = np.random.default_rng([3, number]).multinomial(12, np.full(12, 1 / 12))
        copies = np.where(pairs.mated, drawn[subjects[pairs.a]], drawn[subjects[pairs.a]] * drawn[subjects[pairs.b]])
        again = [np.repeat(column, copies) for column in (pairs.a, pairs.b, pairs.mated, values)]
        written_out = Pairs(pairs.names, *again[:3])
        found = group_rows("d", "fr", written_out, Comparisons.of(again[3], again[2]), {"q": quality}, groups, [0.05])
        samples.append({(row["group"], row["discard"]): row["fnmr"] for row in found})
    for row in rows:
        here = [sample[row["group"], row["discard"]] for sample in samples if (row["group"], 0.0) in sample]
        low, high = np.nanquantile(here, [0.025, 0.975])
        assert (row["fnmr_low"], row["fnmr_high"]) == (pytest.approx(low), pytest.approx(high))
        assert row["fnmr_low"] <= row["fnmr_high"]
    assert any(row["fnmr_low"] < row["fnmr"] < row["fnmr_high"] for row in rows)


def test_without_resamples_groups_have_no_band(faces):
    pairs, comparisons, _, groups, random = faces
    rows = group_rows("d", "fr", pairs, comparisons, {"q": random.random(48)}, groups, [0.05])
    assert all(np.isnan(row["fnmr_low"]) and np.isnan(row["fnmr_high"]) for row in rows)
