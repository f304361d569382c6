"""Degradations with one dial: it is monotone, seeded, and leaves the input alone."""

import numpy as np
import pytest

from fiqa_core.images.degradations import DEGRADATIONS
from fiqa_core.training.augment import Augmentation, randomly_degraded
from tests.makers.images import face_pixels

FACE = face_pixels(3)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_higher_severity_changes_the_face_more_and_a_seed_repeats_it(kind):
    degrade, before = DEGRADATIONS[kind], FACE.copy()
    made = [degrade(FACE, severity, np.random.default_rng(1)) for severity in (0.0, 0.33, 0.67, 1.0)]
    changes = [np.abs(face.astype(float) - FACE).mean() for face in made]
    # A face that lies on its side is no further from the upright one, pixel by pixel, than one at 45 degrees.
    assert changes[:3] == sorted(changes[:3])
    assert changes[0] < 0.8 * changes[2]
    assert changes[1] < changes[3]
    assert all(face.shape == FACE.shape and face.dtype == np.uint8 for face in made)
    assert np.array_equal(made[2], degrade(FACE, 0.67, np.random.default_rng(1)))
    assert np.array_equal(FACE, before)


def test_a_random_degradation_is_its_seed_and_says_what_it_did():
    made = [randomly_degraded(FACE, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(made[7].pixels, randomly_degraded(FACE, np.random.default_rng(7)).pixels)
    assert {len(one.kinds) for one in made} == {1, 2, 3}
    assert len({kind for one in made for kind in one.kinds}) > 6
    assert all(0 <= severity <= 1 for one in made for severity in one.severities)


def test_an_augmentation_without_anything_in_it_is_the_image():
    assert np.array_equal(Augmentation(flip=0)(FACE, np.random.default_rng(0)), FACE)
    assert np.array_equal(Augmentation(flip=1)(FACE, np.random.default_rng(0)), FACE[:, ::-1])
