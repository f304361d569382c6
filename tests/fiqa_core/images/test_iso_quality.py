"""Components of ISO/IEC 29794-5 against OFIQ: its mappings by hand, its formulas step by step, and its own numbers."""

import math
from collections import Counter

import cv2
import numpy as np
import pytest

from fiqa_core.images.components import component_measures
from fiqa_core.images.face_region import FACE
from fiqa_core.images.iso_quality import quality_of
from fiqa_core.images.preprocess import prepare
from schemas.component_measures import PIXEL_COMPONENTS
from tests.makers.faces import lfw_faces


@pytest.mark.parametrize(
    ("component", "value", "quality"),
    [
        # 100 s(m; 0.2, 0.05) (1 - s(m; 0.8, 0.05)), where s(x; x0, w) = 1 / (1 + exp((x0 - x) / w)).
        ("luminance_mean", 0.2, 50),
        ("luminance_mean", 0.25, 73),  # 1 / (1 + e^-1) = 0.731
        ("luminance_mean", 0.5, 100),
        ("luminance_mean", 0.8, 50),
        ("luminance_mean", 0.0, 2),  # 1 / (1 + e^4) = 0.018
        # 100 sin(pi 60 v / (60 v + 1)): best at 60 v = 1.
        ("luminance_variance", 0.0, 0),
        ("luminance_variance", 1 / 60, 100),
        ("luminance_variance", 0.05, 71),  # sin(3 pi / 4)
        ("luminance_variance", 1 / 180, 71),
        # 120 (0.832 - s(x; 0.92, 0.05)).
        ("under_exposure_prevention", 0.0, 100),
        ("under_exposure_prevention", 0.92, 40),  # 120 * 0.332
        ("under_exposure_prevention", 0.8, 90),  # 120 (0.832 - 1 / (1 + e^2.4)) = 89.8
        ("under_exposure_prevention", 1.0, 0),  # -0.00002 of 120
        # 1 / (x + 0.01).
        ("over_exposure_prevention", 0.0, 100),
        ("over_exposure_prevention", 0.01, 50),
        ("over_exposure_prevention", 0.09, 10),
        ("over_exposure_prevention", 1.0, 1),
        # 12.5 bits.
        ("dynamic_range", 8.0, 100),
        ("dynamic_range", 6.5, 81),
        # 100 x^0.3.
        ("illumination_uniformity", 0.0, 0),
        ("illumination_uniformity", 0.1, 50),  # 10^-0.3 = 0.501
        ("illumination_uniformity", 1.0, 100),
        # 200 (1 - s(x; 0, 10)).
        ("natural_colour", 0.0, 100),
        ("natural_colour", 10.0, 54),  # 2 / (1 + e)
        ("natural_colour", 100.0, 0),
        # 100 cos^2.
        ("pose_yaw", 0.0, 100),
        ("pose_yaw", -45.0, 50),
        ("pose_pitch", 60.0, 25),
        ("pose_roll", 90.0, 0),
        # 100 s(x; 70, 20).
        ("inter_eye_distance", 70.0, 50),
        ("inter_eye_distance", 90.0, 73),
        ("inter_eye_distance", 30.0, 12),  # 1 / (1 + e^2) = 0.119
        # 200 (1 - s(|x - 0.45|; 0, 0.05)).
        ("head_size", 0.45, 100),
        ("head_size", 0.5, 54),
        ("head_size", 0.4, 54),
        # 100 s(x; x0, 0.1).
        ("leftward_crop_of_the_face_image", 0.9, 50),
        ("rightward_crop_of_the_face_image", 1.0, 73),
        ("margin_above_of_the_face_image", 1.4, 50),
        ("margin_below_of_the_face_image", 1.8, 50),
        ("margin_below_of_the_face_image", 1.6, 12),
    ],
)
def test_the_quality_is_ofiqs_mapping_of_the_value(component, value, quality):
    assert quality_of(component, np.array(value)) == quality


def test_a_value_that_is_not_known_has_no_quality():
    assert np.isnan(quality_of("inter_eye_distance", np.array([np.nan]))).all()


# What ofiqpy 0.2.2 (PyPI; a Python port of OFIQ 1.1.0, equal to it on OFIQ's 28 conformance images) gives for the first
# faces of LFW's shards on the same pixels and region: `python -m benchmarks.measures --ofiqpy FOLDER`.
OFIQS: dict[str, list[tuple[float, float]]] = {
    "luminance_mean": [
        (0.421343, 99),
        (0.226628, 63),
        (0.218359, 59),
        (0.117888, 16),
        (0.134103, 21),
        (0.305121, 89),
    ],
    "luminance_variance": [
        (0.050487, 70),
        (0.008343, 87),
        (0.01567, 100),
        (0.005608, 71),
        (0.007799, 84),
        (0.027502, 93),
    ],
    "under_exposure_prevention": [
        (0.103302, 100),
        (0.067331, 100),
        (0.075816, 100),
        (0.502121, 100),
        (0.400295, 100),
        (0.114555, 100),
    ],
    "over_exposure_prevention": [
        (0.0, 100),
        (0.0, 100),
        (0.0, 100),
        (0.0, 100),
        (0.0, 100),
        (0.0, 100),
    ],
    "dynamic_range": [
        (7.647621, 96),
        (6.52165, 82),
        (6.424431, 80),
        (6.043016, 76),
        (6.331076, 79),
        (7.317401, 91),
    ],
    "illumination_uniformity": [
        (0.368228, 74),
        (0.53168, 83),
        (0.693297, 90),
        (0.69146, 90),
        (0.490358, 81),
        (0.55831, 84),
    ],
    "natural_colour": [
        (0.0, 100),
        (6.429855, 69),
        (0.0, 100),
        (0.0, 100),
        (5.465816, 73),
        (0.0, 100),
    ],
}


def components(count: int) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    faces = [prepare(face.data).pixels for face in lfw_faces(count)]
    return faces, dict(zip(PIXEL_COMPONENTS, component_measures(np.stack(faces)).T, strict=True))


@pytest.mark.parametrize("component", sorted(OFIQS))
def test_a_component_and_its_quality_equal_those_of_a_port_of_ofiq(component):
    _, found = components(len(OFIQS[component]))
    values, qualities = np.array(OFIQS[component]).T
    assert found[component] == pytest.approx(values, abs=1e-5)
    assert np.abs(found[f"{component}_quality"] - qualities).max() <= 1


# Where the squares are cut out of the whole enlarged picture, single pixels are rounded to another grey level.
_WARPED = {"illumination_uniformity": 5e-3, "natural_colour": 1e-3}


def test_components_equal_ofiqs_published_steps_on_the_same_region():
    faces, found = components(12)
    for place, face in enumerate(faces):
        expected = steps_of_ofiq(face)
        for name, (value, quality) in expected.items():
            assert found[name][place] == pytest.approx(value, abs=_WARPED.get(name, 1e-5)), (name, place)
            assert abs(found[f"{name}_quality"][place] - quality) <= 1, (name, place)


def linear(value: float) -> float:
    return ((value + 0.055) / 1.055) ** 2.4 if value > 0.04045 else value / 12.92


LINEAR = [linear(level / 255) for level in range(256)]


def luminance(red: int, green: int, blue: int) -> int:
    return math.floor(255 * (0.2126 * LINEAR[red] + 0.7152 * LINEAR[green] + 0.0722 * LINEAR[blue]) + 0.5)


def steps_of_ofiq(face: np.ndarray) -> dict[str, tuple[float, float]]:
    """OFIQ's text, pixel by pixel: `image_utils.cpp`, `Luminance.cpp` and their neighbours; own value and scalar."""
    levels = [luminance(*(int(c) for c in face[y, x])) for y, x in zip(*np.nonzero(FACE), strict=True)]
    counts = Counter(levels)
    share = [counts[level] / len(levels) for level in range(256)]
    mean = sum(p * level / 255 for level, p in enumerate(share))
    variance = sum(p * (level / 255 - mean) ** 2 for level, p in enumerate(share))
    dark, bright = sum(share[:26]), sum(share[247:])
    entropy = -sum(p * math.log2(p) for p in share if p)
    left, right = squares_below_the_eyes(face)
    histograms = [[0.0] * 256, [0.0] * 256]
    for histogram, square in zip(histograms, (left, right), strict=True):
        for pixel in square.reshape(-1, 3):
            histogram[luminance(*(int(c) for c in pixel))] += 1 / 1089
    agreement = sum(min(pair) for pair in zip(*histograms, strict=True))
    distance = from_skin(*(np.concatenate([left, right]).reshape(-1, 3).mean(axis=0) / 255))

    def s(value: float, centre: float, width: float) -> float:
        return 1 / (1 + math.exp((centre - value) / width))

    return {
        "luminance_mean": (mean, 100 * s(mean, 0.2, 0.05) * (1 - s(mean, 0.8, 0.05))),
        "luminance_variance": (variance, 100 * math.sin(60 * variance / (60 * variance + 1) * math.pi)),
        "under_exposure_prevention": (dark, min(100, max(0, 120 * (0.832 - s(dark, 0.92, 0.05))))),
        "over_exposure_prevention": (bright, min(100, 1 / (bright + 0.01))),
        "dynamic_range": (entropy, 12.5 * entropy),
        "illumination_uniformity": (agreement, 100 * agreement**0.3),
        "natural_colour": (distance, 200 * (1 - s(distance, 0, 10))),
    }


def squares_below_the_eyes(face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OFIQ's squares in its aligned picture of 616x616: eyes at (251, 272) and (364, 272), mouth 130 pixels below."""
    five = np.float32([[251, 272], [364, 272], [308, 336], [262, 402], [355, 402]])
    arcface = np.float32(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    # a x + b y + c and -b x + a y + d with the least squared distance from the ArcFace template.
    rows = [[(x, y, 1, 0), (y, -x, 0, 1)] for x, y in five]
    a, b, c, d = np.linalg.lstsq(np.reshape(rows, (10, 4)), arcface.ravel(), rcond=None)[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(face, np.array([[a, b, c], [-b, a, d]]), (616, 616), flags=flags)
    side, top = int(113 * 0.3), 272 + 130 // 2
    return large[top : top + side, 251 : 251 + side], large[top : top + side, 364 - side : 364]


def from_skin(red: float, green: float, blue: float) -> float:
    r, g, b = linear(red), linear(green), linear(blue)
    x = (0.43605 * r + 0.38508 * g + 0.14309 * b) / 0.964221
    y = 0.22249 * r + 0.71689 * g + 0.06062 * b
    z = (0.01393 * r + 0.09710 * g + 0.71419 * b) / 0.825211
    fx, fy, fz = ((24289 / 27 * t + 16) / 116 if t <= 216 / 24389 else t ** (1 / 3) for t in (x, y, z))
    along_a, along_b = 500 * (fx - fy), 200 * (fy - fz)
    if along_a < 0 or along_b < 0:
        return 100.0
    return math.hypot(max(0, 5 - along_a, along_a - 25), max(0, 5 - along_b, along_b - 35))
