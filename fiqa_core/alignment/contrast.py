"""Dark, bright and pale pictures with their contrast stretched: YuNet does not see faces in them as they are."""

import numpy as np

_PERCENTILES = (1.0, 99.0)
_WIDE = 160  # grey levels between the percentiles; such a picture is not stretched
_FLAT = 4  # fewer are noise
_LOOK_AT = 65_536  # pixels from which the percentiles come


def stretched(pixels: np.ndarray) -> np.ndarray | None:
    """uint8 (H, W, 3) with its grey levels spread from 0 to 255; None where that would help little, or show noise only.

    All channels are stretched alike, so colours stay what they are.
    """
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _LOOK_AT) ** 0.5))
    low, high = np.percentile(pixels[::step, ::step], _PERCENTILES)
    if not _FLAT < high - low < _WIDE:
        return None
    levels = (np.arange(256) - low) * (255 / (high - low))
    return np.asarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)[pixels])
