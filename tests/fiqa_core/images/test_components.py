"""Component measures: each moves as its name says, and none depends on what else is in the batch."""

import cv2
import numpy as np
import pytest

from fiqa_core.images.components import component_measures
from fiqa_core.images.preprocess import prepare
from schemas.component_measures import COMPONENTS
from tests.makers.faces import lfw_faces

PLACE = {name: place for place, name in enumerate(COMPONENTS)}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([prepare(face.data).pixels for face in lfw_faces(8)])


def measured(images: np.ndarray, name: str) -> np.ndarray:
    return component_measures(np.ascontiguousarray(images))[:, PLACE[name]]


def test_a_plain_image_has_the_values_that_can_be_computed_by_hand():
    plain = np.full((1, 112, 112, 3), 100, np.uint8)
    found = dict(zip(COMPONENTS, component_measures(plain)[0].tolist(), strict=True))
    assert found["luminance_mean"] == pytest.approx(100)
    assert found["grey"] == 1
    assert found["blocking"] == 1
    for name in ("luminance_spread", "underexposed", "overexposed", "dynamic_range", "contrast", "sharpness", "noise"):
        assert found[name] == pytest.approx(0, abs=1e-5), name
    for name in ("colourfulness", "detail", "side_light"):
        assert found[name] == pytest.approx(0, abs=1e-5), name


def test_exposure_range_and_sides_by_hand():
    halves = np.zeros((1, 112, 112, 3), np.uint8)
    halves[:, :, 56:] = 255
    found = dict(zip(COMPONENTS, component_measures(halves)[0].tolist(), strict=True))
    assert found["underexposed"] == found["overexposed"] == pytest.approx(0.5)
    assert found["dynamic_range"] == pytest.approx(1)  # two levels, equally often: one bit
    assert found["contrast"] == 255
    assert found["luminance_spread"] == pytest.approx(127.5)
    assert found["side_light"] == pytest.approx(1)


def test_detail_is_all_of_a_chessboard_and_none_of_an_enlarged_one():
    board = np.indices((1, 112, 112)).sum(0).astype(np.uint8) % 2 * 200
    fine = board[..., None].repeat(3, axis=3)
    coarse = fine[:, :56, :56].repeat(2, axis=1).repeat(2, axis=2)
    assert measured(np.concatenate([fine, coarse]), "detail") == pytest.approx([1, 0], abs=1e-5)


def test_noise_is_estimated_in_grey_levels():
    rng = np.random.default_rng(0)
    noisy = np.clip(128 + rng.normal(0, 10, (4, 112, 112, 1)), 0, 255).astype(np.uint8).repeat(3, axis=3)
    assert measured(noisy, "noise") == pytest.approx([10, 10, 10, 10], rel=0.1)


@pytest.mark.parametrize(
    ("name", "degrade", "rises"),
    [
        ("sharpness", lambda face: cv2.GaussianBlur(face, (0, 0), 2), False),
        ("detail", lambda face: cv2.resize(cv2.resize(face, (28, 28)), (112, 112)), False),
        ("luminance_mean", lambda face: face // 3, False),
        ("underexposed", lambda face: face // 3, True),
        ("overexposed", lambda face: cv2.add(face, np.full_like(face, 120)), True),
        ("contrast", lambda face: face // 4 + 96, False),
        ("dynamic_range", lambda face: face // 4 + 96, False),
        ("blocking", lambda f: cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], 1), True),
        ("colourfulness", lambda face: face[:, :, :1].repeat(3, axis=2), False),
        ("grey", lambda face: face[:, :, :1].repeat(3, axis=2), True),
        ("side_light", lambda face: (face * np.linspace(0.1, 1, 112)[None, :, None]).astype(np.uint8), True),
    ],
)
def test_a_measure_moves_as_the_face_is_degraded(name, degrade, rises, faces):
    change = measured(np.stack([degrade(face) for face in faces]), name) - measured(faces, name)
    assert (change > 0).mean() >= 0.85 if rises else (change < 0).mean() >= 0.85


def test_a_measure_does_not_depend_on_the_batch(faces):
    whole = component_measures(faces)
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[3:4], component_measures(faces[3:4]))
