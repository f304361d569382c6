"""Degradations of face images, each with one parameter: severity 0 (hardly seen) to 1 (nothing left to recognise).

Every function takes uint8 (H, W, 3) RGB pixels, a severity in [0, 1] and a numpy Generator, and returns new pixels
of the same shape. Equal pixels, severity and generator give equal results.
"""

from collections.abc import Callable

import cv2
import numpy as np

Degradation = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _between(gentle: float, harsh: float, severity: float) -> float:
    """Geometric between two numbers: equal steps of severity look about equally large."""
    return float(gentle * (harsh / gentle) ** severity)


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _warped(face: np.ndarray, matrix: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The area outside the image is black, mirrored or filled with the last pixels, at random, so that it is no sign of
    the kind of degradation."""
    border = int(random.choice((cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE)))
    size = face.shape[1], face.shape[0]
    return np.asarray(cv2.warpAffine(face, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border))


def recompressed(face: np.ndarray, quality: int) -> np.ndarray:
    """Pixels after storage as JPEG of a quality from 1 to 100."""
    coded = cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def blur(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Gaussian blur, sigma 0.4 .. 7 pixels."""
    return np.asarray(cv2.GaussianBlur(face, (0, 0), _between(0.4, 7, severity)))


def motion_blur(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """Mean along a line of 2 .. 29 pixels in a random direction."""
    length, angle = _between(2, 29, severity), random.uniform(0, np.pi)
    size = int(np.ceil(length)) | 1
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * size)
    x, y = along * np.cos(angle) + size // 2, along * np.sin(angle) + size // 2
    kernel = np.zeros((size, size), np.float32)
    np.add.at(kernel, (np.clip(np.rint(y).astype(int), 0, size - 1), np.clip(np.rint(x).astype(int), 0, size - 1)), 1)
    return np.asarray(cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def low_resolution(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Sampled down to 80 .. 8 pixels a side (at 112) and up again."""
    height, width = face.shape[:2]
    share = _between(80, 8, severity) / 112
    small = cv2.resize(
        face, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def noise(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise, sigma 4 .. 110 grey levels, in each channel by itself."""
    return _as_pixels(face + random.normal(0, _between(4, 110, severity), face.shape))


def jpeg(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """JPEG at quality 60 .. 1."""
    return recompressed(face, max(1, round(_between(60, 1, severity))))


def occlusion(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """A box of one colour, or of noise, over 3 .. 65 % of the image, whole inside it."""
    height, width = face.shape[:2]
    area, shape = _between(0.03, 0.65, severity), random.uniform(0.7, 1 / 0.7)
    box_h = min(height, max(1, round(height * (area * shape) ** 0.5)))
    box_w = min(width, max(1, round(width * (area / shape) ** 0.5)))
    y, x = int(random.integers(0, height - box_h + 1)), int(random.integers(0, width - box_w + 1))
    colour, speckled = random.integers(0, 256, 3), random.random() < 0.25
    covered = face.copy()
    covered[y : y + box_h, x : x + box_w] = random.integers(0, 256, (box_h, box_w, 3)) if speckled else colour
    return covered


def rotation(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """Turned in the image plane by 3 .. 90 degrees, to either side."""
    height, width = face.shape[:2]
    angle = _between(3, 90, severity) * random.choice((-1, 1))
    return _warped(face, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1), random)


def misalignment(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """Shifted by 2 .. 40 % of the width in a random direction and scaled by up to 3 .. 70 % (smaller or larger)."""
    height, width = face.shape[:2]
    angle, shift = random.uniform(0, 2 * np.pi), _between(0.02, 0.4, severity) * width
    scale = (1 + _between(0.03, 0.7, severity) * random.random()) ** random.choice((-1, 1))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, scale)
    matrix[:, 2] += shift * np.cos(angle), shift * np.sin(angle)
    return _warped(face, matrix, random)


def darkness(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """70 .. 2.5 % of the light, with a sensor's noise (shot noise, and 1.5 grey levels of read-out)."""
    dark = face * _between(0.7, 0.025, severity)
    return _as_pixels(dark + random.normal(0, 1, face.shape) * np.sqrt(1.5**2 + 0.15 * dark))


def overexposure(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """1.1 .. 6 times the light, clipped at white."""
    return _as_pixels(face * _between(1.1, 6, severity))


def low_contrast(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """70 .. 3 % of the contrast, around the image's mean."""
    mean = face.mean()
    return _as_pixels(mean + (face - mean) * _between(0.7, 0.03, severity))


DEGRADATIONS: dict[str, Degradation] = {
    function.__name__: function
    for function in (
        blur,
        motion_blur,
        low_resolution,
        noise,
        jpeg,
        occlusion,
        rotation,
        misalignment,
        darkness,
        overexposure,
        low_contrast,
    )
}
