"""How many pixels an image really has: enlarging leaves its mark on the spectrum.

Three signs, of which the lowest counts:

- Interpolation passes no fine detail: the spectrum ends early. Its centre of gravity, weighted so that every frequency
  of an aligned face counts, is compared with that of faces that were enlarged from known sizes.
- An image that was enlarged twice has steps between neighbours that are large and small in turn: a peak at the highest
  frequency of the steps. (8x8 blocks of a JPEG have it too, but also peaks at 1/4 and 3/8 of the frequency of pixels.)
- Pixels that were only repeated are seen directly: no step between neighbours.
"""

import cv2
import numpy as np

from fiqa_core.images.face_region import SIDE

_WINDOW = np.hanning(SIDE).astype(np.float32)
_WINDOWS = np.tile(_WINDOW, (SIDE, 1))
_FREQUENCY = np.arange(1, SIDE // 2 + 1, dtype=np.float64)  # periods in the image's width
_LOWEST = 4  # what is slower than this many periods is shape and light, not detail
# Power that rounding alone gives: three channels to whole levels (0.447 of a square level / 12), then grey (1 / 12).
_ROUNDING = SIDE * float((_WINDOW**2).sum()) * 1.447 / 12
_ABOVE_ROUNDING = 1.5
_SLOPE = 2.5  # the power of aligned faces falls about so steeply

# Median centre of gravity of 1,000 faces of LFW (train split) that were sampled down to so many pixels a side and
# enlarged by Lanczos' kernel; the last as they are. The first pair is the end of the scale.
_CENTRES = np.array([4.0, 5.16, 8.29, 10.29, 12.89, 14.86, 18.14])
_SIDES = np.array([8.0, 14.0, 28.0, 40.0, 56.0, 84.0, 112.0])

# Peaks of steps at 1/4, 3/8 and 1/2 of the frequency of pixels.
_PEAKS = np.array([28, 42, 56])
_POSITIONS = np.arange(SIDE - 1)
_WAVES = np.hanning(SIDE - 1)[:, None] * np.exp(-2j * np.pi * np.outer(_POSITIONS, _PEAKS) / SIDE) / (SIDE - 1)
_ALTERNATING = 0.012  # of LFW's faces 0.3 % reach it, of those enlarged twice by a cubic or linear kernel 90 to 100 %
_NO_STEP = 0.3  # of the steps around


class Spectra:
    """Gathers spectra and steps image by image, and measures all of them at once."""

    def __init__(self, count: int) -> None:
        self._power = np.zeros((count, 2, SIDE))

    def add(self, place: int, grey: np.ndarray) -> None:
        """Take one image: its grey levels without their mean, float32 (112, 112)."""
        self._power[place] = _power(grey), _power(cv2.transpose(grey))

    def resolution(self, steps: np.ndarray) -> np.ndarray:
        """Pixels a side that hold what the image shows, float64 (number of images,), 1..112.

        `steps`: mean steps between neighbouring columns and rows of the images, float32 (number of images, 2, 111).
        """
        lowest = np.minimum(_alternating(steps), _repeated(steps))
        return np.asarray(np.minimum(self._end_of_spectrum(), lowest))

    def _end_of_spectrum(self) -> np.ndarray:
        pairs = self._power[:, :, 1:-1].reshape(len(self._power), 2, -1, 2).sum(axis=3)  # real and imaginary parts
        power = np.concatenate([pairs, self._power[:, :, -1:]], axis=2).mean(axis=1)
        detail = np.maximum(power - _ABOVE_ROUNDING * _ROUNDING, 0.0)[:, _LOWEST - 1 :]
        frequency = _FREQUENCY[_LOWEST - 1 :]
        weights = detail * frequency**_SLOPE
        total = weights.sum(axis=1)
        centre = (weights * frequency).sum(axis=1) / np.where(total > 0, total, 1.0)
        return np.where(total > 0, np.interp(centre, _CENTRES, _SIDES), 1.0)


def _alternating(steps: np.ndarray) -> np.ndarray:
    around = _smoothed(steps, 17) + 0.05  # grey levels, so that flat images have no large ratios
    ratio = steps / around - 1
    peaks = np.abs((ratio[..., None] * _WAVES).sum(axis=2)).mean(axis=1)
    alternating = peaks[:, 2] - np.maximum(peaks[:, 0], peaks[:, 1])
    return np.where(alternating > _ALTERNATING, SIDE / 2, SIDE)


def _repeated(steps: np.ndarray) -> np.ndarray:
    repeated = steps <= _NO_STEP * _smoothed(steps, 9)
    return np.asarray(SIDE - repeated.sum(axis=2).max(axis=1))


def _power(grey: np.ndarray) -> np.ndarray:
    """Power of the rows' spectra, float32 (112,): of frequency 0, then pairs, then that of half a period a pixel."""
    spectrum = cv2.dft(cv2.multiply(grey, _WINDOWS), flags=cv2.DFT_ROWS)
    return np.asarray(cv2.reduce(cv2.multiply(spectrum, spectrum), 0, cv2.REDUCE_SUM)).ravel()


def _smoothed(steps: np.ndarray, width: int) -> np.ndarray:
    """Running mean along the last axis."""
    lines = steps.reshape(-1, steps.shape[-1])
    return np.asarray(cv2.blur(lines, (width, 1))).reshape(steps.shape)
