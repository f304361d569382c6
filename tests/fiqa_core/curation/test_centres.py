"""Robust centres: checked against float64, and what has no vote in them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fiqa_core.curation.findings.label_noise.identity_centres import robust_centres
from tests.makers.embedded import people_images, unit


def leave_one_out(vectors: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Cosine of each to the sum of the others of its identity, plainly and in float64."""
    x = vectors.astype(np.float64)
    found = np.full(len(x), np.nan)
    for row in range(len(x)):
        others = (segment == segment[row]) & (np.arange(len(x)) != row)
        if others.any():
            rest = x[others].sum(axis=0)
            found[row] = x[row] @ rest / np.linalg.norm(rest) / np.linalg.norm(x[row])
    return found


def mean_of_others(vectors: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Mean cosine of each to the others of its identity, plainly and in float64; NaN for a single one."""
    x = vectors.astype(np.float64)
    cosines = x @ x.T
    np.fill_diagonal(cosines, 0)
    same = segment[:, None] == segment
    return np.array([c[s].sum() / (s.sum() - 1) if s.sum() > 1 else np.nan for c, s in zip(cosines, same, strict=True)])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_cosines_of_clean_identities_are_those_of_float64(seed, sizes):
    random = np.random.default_rng(seed)
    segment = np.repeat(np.arange(len(sizes)), sizes)
    people = unit(random.standard_normal((len(sizes), 64)))
    vectors = unit(people[segment] + random.standard_normal((len(segment), 64)) * 0.05).astype(np.float32)
    found = robust_centres(vectors, segment, np.arange(len(segment)))
    np.testing.assert_allclose(found.cosine, leave_one_out(vectors, segment), atol=2e-5)
    np.testing.assert_allclose(found.genuine, mean_of_others(vectors, segment), atol=2e-5)
    assert found.kept.all()
    assert found.votes.tolist() == sizes


def test_a_wrong_image_has_no_vote_in_the_centre_of_its_identity():
    vectors, _ = people_images(2, 8)
    wrong = np.concatenate([vectors[:8], vectors[8:9]])
    found = robust_centres(wrong, np.zeros(9, np.int64), np.arange(9))
    clean = robust_centres(vectors[:8], np.zeros(8, np.int64), np.arange(8))
    assert found.kept.tolist() == [True] * 8 + [False]
    np.testing.assert_allclose(found.centre, clean.centre, atol=1e-6)
    assert found.cosine[8] < 0.4


def test_copies_of_the_same_bytes_vote_once_and_not_for_each_other():
    vectors, _ = people_images(2, 4)
    # Three rows with the bytes of one wrong picture among four right ones: they would outvote two of them.
    rows = np.concatenate([vectors[:4], np.repeat(vectors[4:5], 3, axis=0)])
    found = robust_centres(rows, np.zeros(7, np.int64), np.array([0, 1, 2, 3, 4, 4, 4]))
    assert found.votes.tolist() == [5]
    assert found.kept.tolist() == [True] * 4 + [False] * 3
    assert (found.cosine[4:] < 0.4).all()
    assert (found.cosine[:4] > 0.6).all()
    clean = robust_centres(vectors[:4], np.zeros(4, np.int64), np.arange(4))
    np.testing.assert_allclose(found.genuine[:4], clean.genuine, atol=1e-6)
    assert (found.genuine[4:] < 0.4).all()


def test_a_single_image_has_no_cosine():
    vectors, _ = people_images(2, 1)
    assert np.isnan(robust_centres(vectors, np.arange(2), np.arange(2)).cosine).all()


def test_two_people_under_one_label_are_two_groups_and_one_person_is_not():
    vectors, _ = people_images(3, 6)
    segment = np.repeat([0, 1], [10, 6])
    rows = np.concatenate([vectors[:6], vectors[6:10], vectors[12:]])
    found = robust_centres(rows, segment, np.arange(16))
    assert found.groups[0].sizes == (6, 4)
    assert found.groups[0].minority.tolist() == [False] * 6 + [True] * 4
    assert found.groups[0].cosine < 0.4
    assert 1 not in found.groups or found.groups[1].cosine > 0.4
    assert (found.cosine[:6] > 0.6).all()
