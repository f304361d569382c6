"""How strongly a face was compressed as JPEG, on the scale of the quality setting of JPEG writers (IJG), 1..100.

The tables in the file say it exactly. Where the file has none, because the picture was stored anew without loss, the
edges of 8x8 blocks in its pixels show it, roughly.
"""

import numpy as np

# The standard's luminance table (ITU-T T.81, annex K.1), in any order: only its mean is compared.
# fmt: off
_STEPS = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])
# fmt: on
_SETTINGS = np.arange(100, 0, -1)


def _mean_step(setting: int) -> float:
    """Mean step of the table that IJG's library makes for a quality setting."""
    scale = 5000 // setting if setting < 50 else 200 - 2 * setting
    return float(np.clip((_STEPS * scale + 50) // 100, 1, 255).mean())


_MEAN_STEPS = np.array([_mean_step(int(setting)) for setting in _SETTINGS])

# Medians of `blocking` of 1,000 faces of LFW (train split) recompressed at each quality; finer ones leave no blocks.
_BLOCKING = np.array([1.00, 1.10, 1.23, 1.27, 1.36, 1.44, 1.56, 1.80, 2.03, 2.49, 3.98, 8.70])
_BLOCKED_AT = np.array([100, 80, 70, 60, 50, 40, 30, 20, 15, 10, 5, 2])


def compression_quality(quantisation: np.ndarray, blocking: np.ndarray) -> np.ndarray:
    """Quality setting, float64 (N,), 1..100, higher = less compressed.

    Args:
        quantisation: mean step of the file's luminance table, float64 (N,); 0 or NaN: it has none.
        blocking: mean step at the edges of 8x8 blocks over that inside them, float64 (N,); NaN: not seen in these
            pixels. Where neither is known the answer is NaN.
    """
    by_table = np.interp(quantisation, _MEAN_STEPS, _SETTINGS)
    by_blocks = np.interp(blocking, _BLOCKING, _BLOCKED_AT)
    return np.where(quantisation > 0, by_table, np.where(np.isnan(blocking), np.nan, by_blocks))
