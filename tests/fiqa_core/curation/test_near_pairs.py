"""Near pairs by cosine and by perceptual hash are those that a look at every pair finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiqa_core.curation.findings.near_duplicates import cosine_pairs as near_pairs_module
from fiqa_core.curation.findings.near_duplicates.cosine_pairs import near_pairs
from fiqa_core.curation.findings.near_duplicates.kmeans_cells import nearest_cells, train_cells
from fiqa_core.curation.findings.near_duplicates.phash_pairs import band_masks, phash_pairs
from tests.makers.embedded import people_images, unit

MANY = 10**9


def brute_cosine(vectors: np.ndarray, own: int, cosine: float) -> set[tuple[int, int]]:
    """Every pair with at least one row of the dataset, in float64."""
    products = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    return {(a, b) for b in range(len(vectors)) for a in range(min(b, own)) if products[a, b] >= cosine}


def of(pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.3, 0.7, 0.95]))
def test_pairs_by_cosine_are_those_of_every_pair(seed, rows, own, cosine):
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((rows, 4)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs_module, "BLOCK", 16)
        found = near_pairs(vectors, np.arange(rows), own, cosine, MANY, threads=2)
    products = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    if not (np.abs(products - cosine) < 1e-6).any():
        assert set(of(found)) == brute_cosine(vectors, own, cosine)
        assert len(set(of(found))) == len(found.a)


def test_a_picture_that_is_there_a_thousand_times_is_one_crowd_around_the_best():
    same = np.tile(unit(np.ones((1, 8), np.float32)), (1000, 1))
    quality = np.random.default_rng(0).random(1000).astype(np.float32)
    found = near_pairs(same, np.arange(1000), 1000, 0.9, 5, quality=quality)
    best = int(quality.argmax())
    assert (found.crowd == best).all()
    assert set(found.a.tolist()) | set(found.b.tolist()) == set(range(1000))
    assert (len(found.a), found.left_out) == (999, 0)


def test_rows_near_a_crowd_and_alone_are_paired_with_each_row_of_it_that_is_near():
    vectors = unit(np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32))
    found = near_pairs(vectors, np.arange(40), 40, 0.9, 3)
    products = vectors @ vectors.T
    degree = (products >= 0.9).sum(axis=1) - 1
    true = {(a, b) for a, b in brute_cosine(vectors, 40, 0.9) if min(degree[a], degree[b]) <= 3}
    assert true <= set(of(found))
    assert (degree > 3).any()


def test_of_a_leaked_picture_that_is_there_many_times_each_row_is_paired_with_the_other_dataset():
    same = np.tile(unit(np.ones((1, 8), np.float32)), (301, 1))
    found = near_pairs(same, np.arange(301), 300, 0.9, 5)
    assert set(found.a[found.b == 300].tolist()) == set(range(300))


def test_cells_lose_hardly_any_pair_that_a_look_at_every_pair_finds():
    vectors, _ = people_images(150, 10, 64)
    random = np.random.default_rng(1)
    copies = unit(vectors[::5] + random.standard_normal((300, 64), np.float32) * np.float32(0.25 / 8))
    every = np.concatenate([vectors, copies])
    true = brute_cosine(every, len(every), 0.95)
    cells = nearest_cells(every, train_cells(every[::2], 70, 2), 3, 2)
    share = [len(set(cells[a]) & set(cells[b])) > 0 for a, b in true]
    assert len(true) > 200
    assert np.mean(share) >= 0.99


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), max_size=6)), max_size=30),
    st.integers(0, 6),
    st.integers(0, 42),
)
def test_pairs_by_hash_are_those_of_every_pair(bases, changes, bits, own):
    values = list(bases)
    for base, flips in changes:
        values.append(bases[base % len(bases)] ^ sum(1 << bit for bit in flips))
    phash = np.array(values, np.uint64)
    rid = np.arange(len(phash))
    found = [phash_pairs(phash, rid, own, bits, band) for band in range(bits + 1)]
    pairs = [pair for some in found for pair in of(some)]
    differing = np.bitwise_count(phash[:, None] ^ phash[None, :])
    mine = {value: place for place, value in reversed(list(enumerate(values[:own])))}
    middles = set(mine.values())
    # Rows of one value are a crowd around the first, which stands for them all.
    crowd = {(mine[values[b]], b) for b in range(min(own, len(values))) if mine[values[b]] != b}
    true = {(a, b) for a in middles for b in middles if a < b and differing[a, b] <= bits}
    for a in range(min(own, len(values))):
        others = [(differing[a, b], b) for b in rid[own:] if differing[a, b] <= bits]
        true |= {(a, min(others)[1])} if others else set()
    of_other = {pair for pair in pairs if pair[1] >= own}
    assert set(pairs) - of_other == {pair for pair in true if pair[1] < own} | crowd
    assert {pair for pair in true if pair[1] >= own} <= of_other


def test_bands_cover_every_bit_once():
    for bits in range(16):
        masks = band_masks(bits)
        assert len(masks) == bits + 1
        assert np.bitwise_or.reduce(masks) == 2**64 - 1
        assert int(np.bitwise_count(masks).sum()) == 64


def test_a_hash_that_is_there_ten_thousand_times_makes_ten_thousand_pairs():
    phash = np.append(np.full(10_000, 7, np.uint64), np.uint64(6))
    found = [phash_pairs(phash, np.arange(10_001), 10_001, 4, band) for band in range(5)]
    assert sum(len(some.a) for some in found) == 10_000
    assert sum((some.crowd == 0).sum() for some in found) == 9_999
