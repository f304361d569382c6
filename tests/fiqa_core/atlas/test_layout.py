"""Coordinates: the same for any process and number of cores, and for every number of points."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fiqa_core.atlas.layout import LEAST_POINTS, place
from tests.makers.embedded import people_images, unit

ROOT = Path(__file__).parents[3]
# 10 is the least that t-SNE places; Annoy, which looks for neighbours of many points, is asked here, too.
CODE = """
import hashlib, sys
from fiqa_core.atlas import layout
from tests.makers.embedded import people_images
layout._EXACT_BELOW = 50
for people in (6, 15):
    print(hashlib.sha256(layout.place(people_images(people, 4, dim=64)[0], 7, 5.0).xy.tobytes()).hexdigest())
"""


def test_two_processes_with_other_numbers_of_threads_place_the_points_alike():
    def placed(threads: int) -> str:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        surroundings = os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", CODE], cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True
        ).stdout

    first, second = placed(1), placed(4)
    assert len(first.split()) == 2
    assert first == second


def test_another_seed_gives_another_map():
    vectors = people_images(5, 4, dim=64)[0]
    first, again, other = (place(vectors, seed, 5.0).xy for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_images_of_one_person_lie_together():
    vectors, person = people_images(8, 12, dim=64, spread=0.4)
    found = place(vectors, 0, 10.0)
    assert (found.method, found.perplexity) == ("t-SNE", 10.0)
    distances = np.linalg.norm(found.xy[:, None] - found.xy[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (person[distances.argmin(axis=1)] == person).mean() > 0.95


@pytest.mark.parametrize("count", [0, 1, 2, 3, LEAST_POINTS - 1])
def test_too_few_points_for_neighbourhoods_lie_by_their_principal_components(count):
    found = place(people_images(count, 1, dim=8)[0] if count else np.zeros((0, 8), np.float32), 0, 30.0)
    assert (found.method, found.perplexity, found.xy.shape) == ("PCA", None, (count, 2))
    assert found.xy.dtype == np.float32
    assert np.isfinite(found.xy).all()
    assert len(np.unique(found.xy, axis=0)) == count


def test_fewer_points_than_the_perplexity_asks_for_lower_it():
    found = place(people_images(LEAST_POINTS, 1, dim=8)[0], 0, 30.0)
    assert found.method == "t-SNE"
    assert found.perplexity == (LEAST_POINTS - 1) / 3
    assert np.isfinite(found.xy).all()


def test_equal_embeddings_and_embeddings_of_one_number_have_finite_places():
    same = np.repeat(people_images(1, 1, dim=8)[0], 20, axis=0)
    assert np.isfinite(place(same, 0, 5.0).xy).all()
    line = unit(np.repeat([[1.0], [-1.0]], 10, axis=0)).astype(np.float32)
    assert np.isfinite(place(line, 0, 5.0).xy).all()
