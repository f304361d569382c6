"""Thousands of rows that equal each other in embedding, quality or bytes: one answer, in bounded work."""

import hashlib
import json

import numpy as np
import pytest

from fiqa_core.curation.findings.near_duplicates import cosine_pairs as near_pairs
from fiqa_core.curation.findings.near_duplicates.equal_vectors import few_of_each
from pipelines import filter_dataset
from tests.makers.embedded import unit, write_quality

MANY, OTHERS = 4000, 40


@pytest.fixture(scope="module")
def equal_rows(tmp_path_factory):
    """One identity of 4,000 rows with one embedding, quality and hash; 40 people of one image. Bytes: all different."""
    return _table(tmp_path_factory.mktemp("equal"), [hashlib.sha256(b"%d" % row).digest() for row in range(MANY)])


def _table(folder, digests):
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((1 + OTHERS, 64), np.float32))
    labels = ["one"] * MANY + [f"p{person}" for person in range(OTHERS)]
    digests = [*digests, *(hashlib.sha256(b"other %d" % row).digest() for row in range(OTHERS))]
    quality = np.append(np.full(MANY, 0.5), np.linspace(0.2, 0.9, OTHERS))
    phash = random.integers(0, 2**63, 1 + OTHERS).astype(np.uint64)
    times = np.append(MANY, np.ones(OTHERS, int))
    every, hashes = np.repeat(vectors, times, axis=0), np.repeat(phash, times)
    return write_quality(folder / "t", labels, every, sha256=digests, phash=hashes, quality=quality)


def _filtered(table, output, *options) -> dict:
    command = ["--quality", table, "--output", output, "--embeddings", "table", "--write", "none", *options]
    assert filter_dataset.run([str(word) for word in command]) == filter_dataset.EXIT_OK
    return json.loads((output / "summary.json").read_text())


def test_an_identity_of_four_thousand_equal_embeddings_goes_through_labels_duplicates_and_quantiles(
    equal_rows, tmp_path
):
    near = _filtered(equal_rows, tmp_path / "near", "--drop-wrong-labels", "--near-duplicates", "all")
    assert near["kept"] == 1 + OTHERS
    assert near["dropped"]["duplicate_near"] == MANY - 1
    options = ["--drop-worst", "0.25", "--drop-worst-of-identity", "0.5", "--best-per-identity", "7"]
    ranked = _filtered(equal_rows, tmp_path / "ranked", "--drop-wrong-labels", *options)
    assert ranked["rows"] == MANY + OTHERS == ranked["kept"] + sum(ranked["dropped"].values())
    assert ranked["dropped"]["below_global_quantile"] == (MANY + OTHERS) // 4


def test_of_four_thousand_copies_of_the_same_bytes_the_first_stays(tmp_path):
    table = _table(tmp_path, [hashlib.sha256(b"one").digest()] * MANY)
    said = _filtered(table, tmp_path / "out", "--exact-duplicates", "all", "--drop-wrong-labels")
    assert said["kept"] == 1 + OTHERS
    assert said["dropped"]["duplicate_exact"] == MANY - 1


def test_equal_embeddings_are_compared_a_few_times_and_the_pairs_are_those_of_every_comparison(monkeypatch):
    random = np.random.default_rng(1)
    some = unit(random.standard_normal((30, 32), np.float32))
    near = unit(some[:10] + random.standard_normal((10, 32), np.float32) * np.float32(0.02))
    times = np.array([500, 300, 67, 66, 65, *[3] * 25])
    vectors = np.concatenate([np.repeat(some, times, axis=0), near]).astype(np.float16)
    vectors = vectors[random.permutation(len(vectors))]
    quality = random.random(len(vectors)).astype(np.float32)
    looked_at, surplus = few_of_each(vectors, 0.9, 66)
    assert len(surplus) == 500 + 300 + 67 - 3 * 66
    assert sorted([*looked_at, *surplus]) == list(range(len(vectors)))

    def pairs():
        return near_pairs.near_pairs(vectors, np.arange(len(vectors)), len(vectors), 0.9, 64, quality=quality)

    few = pairs()
    monkeypatch.setattr(near_pairs, "few_of_each", lambda vectors, *_: (np.arange(len(vectors)), np.empty(0, np.int64)))
    every = pairs()
    for ours, expected in zip(few[:4], every[:4], strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert len(few_of_each(vectors, 1.0, 66)[1]) == 0  # rounding decides whether these are near each other
