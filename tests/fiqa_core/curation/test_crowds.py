"""Of many copies of one photo one stays, through the whole command."""

import json

import numpy as np
import pytest

from fiqa_core.curation.findings.near_duplicates.crowds import find_crowds
from pipelines import filter_dataset
from tests.makers.embedded import unit, write_quality


@pytest.mark.parametrize("by", ["cosine", "phash", "picture"])
@pytest.mark.parametrize(("groups", "size"), [(1, 50), (1, 1000), (20, 200)])
def test_every_copy_of_a_photo_but_one_goes_at_any_size(tmp_path, by, groups, size):
    random = np.random.default_rng(0)
    vectors = np.repeat(unit(random.standard_normal((groups, 64), np.float32)), size, axis=0)
    phash = np.repeat(random.integers(0, 2**63, groups).astype(np.uint64), size)
    thumb = np.repeat(random.integers(0, 256, (groups, 1024), np.uint8), size, axis=0) if by == "picture" else None
    labels = [f"p{row % 7}" for row in range(groups * size)]
    quality = random.random(groups * size)
    table = write_quality(tmp_path / "t", labels, vectors, phash=phash, thumb=thumb, quality=quality)
    options = ["--near-duplicates", "all", "--near-by", by, "--write", "none"]
    options += [] if by == "phash" else ["--embeddings", "table"]
    output = tmp_path / "out"
    assert filter_dataset.run(["--quality", str(table), "--output", str(output), *options]) == filter_dataset.EXIT_OK
    summary = json.loads((output / "summary.json").read_text())
    assert summary["kept"] == groups
    assert summary["findings"]["counts"]["pairs_left_out"] == 0


def test_a_copy_that_is_nearer_to_other_copies_than_to_the_original_is_still_compared_with_it():
    """Blurred, mirrored and cropped copies lie nearer to each other by cosine, and agree with the original alone."""
    strangers, copies, most = 64, 300, 64
    vectors = np.zeros((strangers + 1 + copies, 66), np.float32)
    vectors[np.arange(strangers), np.arange(strangers)] = 1
    original = strangers
    vectors[original, 64] = 1
    vectors[original + 1 :, 64:] = 0.9, (1 - 0.9**2) ** 0.5

    def compare(i, j):
        return ((i == original) | (j == original)).astype(np.float32)

    crowds = find_crowds(vectors, np.arange(len(vectors)), 0.8, most, compare, 0.97)
    assert sorted(crowds.member.tolist()) == list(range(original + 1, len(vectors)))
    assert set(crowds.middle.tolist()) == {original}
    assert crowds.left_out == 0


def test_looks_at_pictures_are_bounded_and_what_they_miss_is_counted():
    """One person, many different photographs: no row is compared with more than `most` others."""
    rows, most = 200, 16
    looks = np.zeros(rows, np.int64)

    def compare(middle, row):
        np.add.at(looks, row, 1)
        return np.zeros(len(row), np.float32)

    crowds = find_crowds(np.tile(np.float32([1, 0]), (rows, 1)), np.arange(rows), 0.8, most, compare, 0.97)
    assert looks.max() <= 2 * most  # middles of earlier blocks, and those of its own
    assert len(crowds.member) == 0
    assert crowds.left_out > 0
