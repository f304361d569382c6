"""Component measures: each moves as its name says, and none depends on what else is in the batch."""

import cv2
import numpy as np
import pytest

from fiqa_core.images.components import component_measures
from fiqa_core.images.compression import compression_quality
from fiqa_core.images.degradations import DEGRADATIONS, recompressed
from fiqa_core.images.preprocess import prepare
from schemas.component_measures import PIXEL_COMPONENTS
from tests.makers.faces import lfw_faces

PLACE = {name: place for place, name in enumerate(PIXEL_COMPONENTS)}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([prepare(face.data).pixels for face in lfw_faces(8)])


def measured(images: np.ndarray, name: str) -> np.ndarray:
    return component_measures(np.ascontiguousarray(images))[:, PLACE[name]]


def test_a_plain_image_has_the_values_that_can_be_computed_by_hand():
    plain = np.full((1, 112, 112, 3), 100, np.uint8)
    found = dict(zip(PIXEL_COMPONENTS, component_measures(plain)[0].tolist(), strict=True))
    assert found["luminance_mean"] == pytest.approx(32 / 255)  # the light of grey level 100
    assert found["grey"] == 1
    assert found["blocking"] == 1
    assert found["illumination_uniformity"] == 1
    assert found["resolution"] == 1  # one pixel would hold it
    for name in ("luminance_variance", "under_exposure_prevention", "over_exposure_prevention", "dynamic_range"):
        assert found[name] == pytest.approx(0, abs=1e-5), name
    for name in ("contrast", "sharpness", "noise"):
        assert found[name] == pytest.approx(0, abs=1e-5), name
    for name in ("colourfulness", "detail", "side_light"):
        assert found[name] == pytest.approx(0, abs=1e-5), name


def test_exposure_range_and_sides_by_hand():
    halves = np.zeros((1, 112, 112, 3), np.uint8)
    halves[:, :, 56:] = 255
    found = dict(zip(PIXEL_COMPONENTS, component_measures(halves)[0].tolist(), strict=True))
    # The middle of the face region is at x = 56, the first bright column.
    assert found["under_exposure_prevention"] == pytest.approx(0.5, abs=0.01)
    assert found["over_exposure_prevention"] == pytest.approx(1 - found["under_exposure_prevention"])
    assert found["dynamic_range"] == pytest.approx(1, abs=1e-3)  # two levels, equally often: one bit
    assert found["contrast"] == 255
    assert found["luminance_variance"] == pytest.approx(0.25, abs=1e-3)
    assert found["illumination_uniformity"] == 0
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
        ("under_exposure_prevention", lambda face: face // 3, True),
        ("over_exposure_prevention", lambda face: cv2.add(face, np.full_like(face, 120)), True),
        ("contrast", lambda face: face // 4 + 96, False),
        ("dynamic_range", lambda face: face // 4 + 96, False),
        ("blocking", lambda f: cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], 1), True),
        ("colourfulness", lambda face: face[:, :, :1].repeat(3, axis=2), False),
        ("grey", lambda face: face[:, :, :1].repeat(3, axis=2), True),
        ("side_light", lambda face: (face * np.linspace(0.1, 1, 112)[None, :, None]).astype(np.uint8), True),
        ("illumination_uniformity", lambda f: (f * np.linspace(0.1, 1, 112)[None, :, None]).astype(np.uint8), False),
        ("natural_colour", lambda face: face[:, :, :1].repeat(3, axis=2), True),
        ("natural_colour", lambda face: face[:, :, ::-1], True),
        ("natural_colour_quality", lambda face: face[:, :, ::-1], False),
        ("luminance_variance", lambda face: face // 4 + 96, False),
    ],
)
def test_a_measure_moves_as_the_face_is_degraded(name, degrade, rises, faces):
    change = measured(np.stack([degrade(face) for face in faces]), name) - measured(faces, name)
    assert (change > 0).mean() >= 0.85 if rises else (change < 0).mean() >= 0.85


def test_a_measure_does_not_depend_on_the_batch(faces):
    whole = component_measures(faces)
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[3:4], component_measures(faces[3:4]))


@pytest.mark.parametrize(
    ("name", "degradation", "rises"),
    [
        ("sharpness", "blur", False),
        ("resolution", "low_resolution", False),
        ("noise", "noise", True),
        ("over_exposure_prevention", "overexposure", True),
        ("luminance_mean", "darkness", False),
        ("contrast", "low_contrast", False),
        ("dynamic_range", "low_contrast", False),
    ],
)
def test_a_measure_goes_on_moving_as_its_degradation_grows(name, degradation, rises, faces):
    rungs = [
        np.stack([DEGRADATIONS[degradation](face, severity, np.random.default_rng(n)) for n, face in enumerate(faces)])
        for severity in (0.2, 0.5, 0.8)
    ]
    values = np.stack([measured(each, name) for each in [faces, *rungs]])
    steps = np.diff(values, axis=0) * (1 if rises else -1)
    assert (steps >= 0).all()
    assert (steps.sum(axis=0) > 0).all()


@pytest.mark.parametrize("kernel", [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
@pytest.mark.parametrize("side", [56, 28])
def test_resolution_tells_enlarged_faces_from_natural_ones_whatever_the_kernel(side, kernel, many):
    enlarged = np.stack(
        [
            cv2.resize(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), (112, 112), interpolation=kernel)
            for face in many
        ]
    )
    natural, found = measured(many, "resolution"), measured(enlarged, "resolution")
    higher = (natural[:, None] > found).mean() + (natural[:, None] == found).mean() / 2
    assert higher >= 0.95  # the area under the curve
    assert np.median(natural) > 100
    assert np.median(found) == pytest.approx(side, rel=0.5)


def test_pixels_that_were_only_repeated_are_counted(many):
    for side in (84, 56, 28):
        small = np.stack([cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in many])
        repeated = [cv2.resize(face, (112, 112), interpolation=cv2.INTER_NEAREST) for face in small]
        found = measured(np.stack(repeated), "resolution")
        assert (found <= side).mean() >= 0.9


def test_a_jpeg_stored_anew_without_loss_shows_its_compression_in_blocks(many):
    natural = _by_blocks(many)
    for quality in (10, 30, 50):
        found = _by_blocks(np.stack([recompressed(face, quality) for face in many]))
        assert (found[:, None] < natural).mean() >= 0.99
        assert np.median(found) == pytest.approx(quality, rel=0.2)


def _by_blocks(images: np.ndarray) -> np.ndarray:
    return compression_quality(np.zeros(len(images)), measured(images, "blocking").astype(np.float64))


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return np.stack([prepare(face.data).pixels for face in lfw_faces(80)])
