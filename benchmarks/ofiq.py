"""Component measures against PyPI's `ofiqpy`, a Python port of OFIQ 1.1.0 (part of `benchmarks.measures`)."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from fiqa_core.alignment.components import margins
from fiqa_core.images import face_region
from fiqa_core.images.components import component_measures, qualities
from fiqa_core.images.iso_quality import rounded
from schemas.component_measures import PIXEL_COMPONENTS, QUALITY

_OFIQS_SIDE = 616
_EYES, _MOUTH = ((251, 272), (364, 272)), (308, 402)  # of OFIQ's template
_CHIN = 16  # of 98 landmarks
_GEOMETRY = {
    "LeftwardCropOfTheFaceImage": "leftward_crop_of_the_face_image",
    "RightwardCropOfTheFaceImage": "rightward_crop_of_the_face_image",
    "MarginAboveOfTheFaceImage": "margin_above_of_the_face_image",
    "MarginBelowOfTheFaceImage": "margin_below_of_the_face_image",
    "InterEyeDistance": "inter_eye_distance",
    "HeadSize": "head_size",
}


def compare(faces: np.ndarray, folder: Path) -> None:
    """Print differences of own values and of quality components.

    `same pixels`: OFIQ's formulas on the 112x112 crop (on the cheeks as it enlarges them). `enlarged`: on the crop
    warped to OFIQ's 616x616, where a face has ten times as many pixels.
    """
    sys.path.insert(0, str(folder))
    found = dict(zip(PIXEL_COMPONENTS, component_measures(faces).T.astype(np.float64), strict=True))
    theirs = {
        "same pixels": [_measured(face, False) for face in faces],
        "enlarged": [_measured(f, True) for f in faces],
    }
    print("| component | pixels | own value, largest difference | quality, mean and largest |\n|---|---|---|---|")
    for name in theirs["enlarged"][0]:
        for pixels, values in theirs.items():
            if name in values[0]:
                _print(name, pixels, np.array([each[name] for each in values]), found[name], found[name + QUALITY])
    _compare_geometry()


def _print(name: str, pixels: str, theirs: np.ndarray, own: np.ndarray, quality: np.ndarray) -> None:
    raw, scalar = np.abs(theirs[:, 0] - own), np.abs(theirs[:, 1] - quality)
    print(f"| {name} | {pixels} | {raw.max():.2g} | {scalar.mean():.2f}, {scalar.max():.0f} |")


def _measured(face: np.ndarray, enlarged: bool) -> dict[str, tuple[float, float]]:
    """ofiqpy's own value and scalar, by our name."""
    from ofiqpy.measures import core, pixel

    to_ofiq = cv2.invertAffineTransform(face_region.FROM_OFIQ)
    bgr = np.ascontiguousarray(face[..., ::-1])
    large = cv2.warpAffine(bgr, to_ofiq, (_OFIQS_SIDE, _OFIQS_SIDE))
    region = cv2.warpAffine(face_region.FACE, to_ofiq, (_OFIQS_SIDE, _OFIQS_SIDE), flags=cv2.INTER_NEAREST)
    landmarks = np.zeros((98, 2))
    landmarks[[60, 64]], landmarks[[68, 72]], landmarks[[90, 94]] = *_EYES, _MOUTH
    on_crop = _session(bgr, face_region.FACE, landmarks)
    on_large = _session(large, region, landmarks)
    session = on_large if enlarged else on_crop
    found = {
        "luminance_mean": core.Measures.luminance_mean(None, session),  # it uses nothing of its object
        "luminance_variance": pixel.luminance_variance(session),
        "under_exposure_prevention": pixel.under_exposure(session),
        "over_exposure_prevention": pixel.over_exposure(session),
        "dynamic_range": pixel.dynamic_range(session),
        "illumination_uniformity": pixel.illumination_uniformity(on_large),
        "natural_colour": pixel.natural_colour(on_large),
    }
    return {name: (value.raw, value.scalar) for name, value in found.items()}


def _session(image: np.ndarray, region: np.ndarray, landmarks: np.ndarray) -> Any:
    return SimpleNamespace(
        aligned_face=image, landmarked_region=region, occlusion_mask=np.ones_like(region), aligned_landmarks=landmarks
    )


def _compare_geometry() -> None:
    """Random eyes, chins and pictures."""
    from ofiqpy.measures import core, geometry

    random = np.random.default_rng(0)
    worst = dict.fromkeys(_GEOMETRY, (0.0, 0.0))
    for _ in range(2000):
        size = random.integers(100, 2000, 2)
        landmarks = np.zeros((98, 2))
        left = random.integers(0, size)
        right = left + random.integers(1, size // 3 + 1)
        landmarks[[60, 64]], landmarks[[68, 72]] = left, right
        landmarks[_CHIN] = random.integers(left, size + 1)
        session = SimpleNamespace(landmarks=landmarks, image=np.zeros((size[1], size[0], 3), np.uint8), pitch=0.0)
        theirs = [*geometry.crop_of_face(session), geometry.inter_eye_distance(session)]
        theirs.append(core.Measures.head_size(None, session))
        ours = _margins(landmarks[_CHIN], rounded((left + right) / 2), left, right, size)
        # OFIQ rounds the middle of the eyes to whole pixels for the margins, but not for the head's size.
        ours["head_size"] = _margins(landmarks[_CHIN], (left + right) / 2, left, right, size)["head_size"]
        ours |= qualities(ours)
        for value in theirs:
            name = _GEOMETRY[value.name]
            apart = abs(value.raw - ours[name][0]), abs(value.scalar - ours[name + QUALITY][0])
            worst[value.name] = (max(worst[value.name][0], apart[0]), max(worst[value.name][1], apart[1]))
    for name, (raw, scalar) in worst.items():
        print(f"| {_GEOMETRY[name]} | same points | {raw:.2g} | largest {scalar:.0f} |")


def _margins(
    chin: np.ndarray, middle: np.ndarray, left: np.ndarray, right: np.ndarray, size: np.ndarray
) -> dict[str, np.ndarray]:
    return margins(left[None], right[None], np.array([np.hypot(*(chin - middle))]), size[:1], size[1:])
