"""Of many copies of one photo one stays, through the whole command."""

import json

import numpy as np
import pytest

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
