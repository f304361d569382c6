"""Augmentation of a training image: a flip and a grid-sample jitter (the paper's kind), or a random degradation.

All take a numpy Generator, so that a sample depends on its seed only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from fiqa_core.images.degradations import DEGRADATIONS, recompressed
from fiqa_core.settings import checks
from fiqa_core.settings.fields import setting

_COUNTS = (0.55, 0.3, 0.15)  # one, two or three degradations together
_ONLY_MOVED = 0.25
_HARSHER_TOGETHER = 0.75  # several together are scaled down, since they add up


class Degraded(NamedTuple):
    """`pixels` uint8 (H, W, 3); `kinds` and `severities` of what was done, in order."""

    pixels: np.ndarray
    kinds: tuple[str, ...]
    severities: tuple[float, ...]


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image of a training batch."""

    flip: float = setting(0.5, checks.share, "probability of a horizontal flip")
    jitter: float = setting(
        0.0,
        checks.fraction,
        "largest shift (share of the width), change of scale (share) and turn (radians) of a random affine grid "
        "sample; 0: none",
    )
    degrade: float = setting(
        0.0, checks.share, "probability of a random degradation (fiqa_core/images/degradations.py)"
    )

    def __call__(self, face: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """New pixels, uint8 (H, W, 3), C-contiguous."""
        flip, degrade = random.random() < self.flip, random.random() < self.degrade
        if self.jitter:
            face = jittered(face, self.jitter, random)
        if degrade:
            face = randomly_degraded(face, random).pixels
        return np.ascontiguousarray(face[:, ::-1] if flip else face)


def pool_copy(face: np.ndarray, jitter: float, random: np.random.Generator) -> Degraded:
    """Another image of a face for a teacher's pool: degraded.

    With `jitter` (as in `Augmentation`) it is moved first, and half of the time mirrored; a quarter of these copies are
    not degraded, so that a network sees more natural faces than there are images.
    """
    if not jitter:
        return randomly_degraded(face, random)
    face = Augmentation(flip=0.5, jitter=jitter)(face, random)
    if random.random() < _ONLY_MOVED:
        return Degraded(face, (), ())
    return randomly_degraded(face, random)


def jittered(face: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """A random small shift, scale and turn by bilinear grid sampling; borders are repeated."""
    height, width = face.shape[:2]
    dx, dy, scale, turn = random.uniform(-amount, amount, 4)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), np.degrees(turn), 1 + scale)
    matrix[:, 2] += dx * width, dy * height
    size = width, height
    return np.asarray(cv2.warpAffine(face, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def randomly_degraded(face: np.ndarray, random: np.random.Generator) -> Degraded:
    """One to three kinds in random order at random severity; half of the results are stored as a good JPEG again."""
    count = 1 + int(random.choice(len(_COUNTS), p=_COUNTS))
    kinds = tuple(str(kind) for kind in random.choice(list(DEGRADATIONS), count, replace=False))
    severities = random.random(count) * (1 if count == 1 else _HARSHER_TOGETHER)
    for kind, severity in zip(kinds, severities, strict=True):
        face = DEGRADATIONS[kind](face, float(severity), random)
    if random.random() < 0.5:
        face = recompressed(face, int(random.integers(65, 96)))
    return Degraded(face, kinds, tuple(float(severity) for severity in severities))
