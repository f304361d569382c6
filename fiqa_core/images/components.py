"""Simple measures of face images, of a whole batch at once (`schemas.component_measures` says what each is)."""

import cv2
import numpy as np

from fiqa_core.images.colour import Colour
from fiqa_core.images.face_light import FaceLight
from fiqa_core.images.iso_quality import QUALITIES, quality_of
from fiqa_core.images.resolution import Spectra
from fiqa_core.images.texture import Texture, blocking, neighbour_steps
from schemas.component_measures import PIXEL_COMPONENTS, QUALITY

_ORDER = tuple(PIXEL_COMPONENTS)


def component_measures(pixels: np.ndarray) -> np.ndarray:
    """Measures, float32 (B, number of PIXEL_COMPONENTS), in their order, of uint8 RGB (B, 112, 112, 3); each image by
    itself."""
    count = len(pixels)
    light, texture, spectra, colour = FaceLight(count), Texture(count), Spectra(count), Colour(count)
    steps = np.zeros((count, 2, pixels.shape[1] - 1), np.float32)
    for place, image in enumerate(pixels):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        centred = cv2.subtract(grey, cv2.mean(grey)[0], dtype=cv2.CV_32F)
        steps[place] = neighbour_steps(grey)
        light.add(place, image)
        texture.add(place, grey, centred)
        spectra.add(place, centred)
        colour.add(place, image)
    measured = {
        **light.measured(),
        **texture.measured(),
        **colour.measured(),
        "blocking": blocking(steps),
        "resolution": spectra.resolution(steps),
    }
    measured |= qualities(measured)
    return np.stack([measured[name] for name in _ORDER], axis=1).astype(np.float32)


def qualities(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The quality components, 0..100, of the measures that are components of ISO/IEC 29794-5."""
    return {name + QUALITY: quality_of(name, values) for name, values in measured.items() if name in QUALITIES}
