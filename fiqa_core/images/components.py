"""Simple measures of face images, of a whole batch at once (`schemas.component_measures` says what each is)."""

import cv2
import numpy as np

from schemas.component_measures import COMPONENTS

_DARK, _BRIGHT = 25, 247
_GREY = 8
_BLOCK = 8
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_SCALE = float(np.sqrt(np.pi / 2) / 6)
_ORDER = tuple(COMPONENTS)


def component_measures(pixels: np.ndarray) -> np.ndarray:
    """Measures, float32 (B, number of COMPONENTS), in their order, of uint8 RGB (B, H, W, 3); each image by itself."""
    found = np.empty((len(pixels), len(_ORDER)), np.float32)
    for place, image in enumerate(pixels):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        measured = _of_levels(grey) | _of_edges(grey) | _of_colour(image)
        found[place] = [measured[name] for name in _ORDER]
    return found


def _of_levels(grey: np.ndarray) -> dict[str, float]:
    """What the histogram of the luminance and its halves show."""
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    mean = float(shares @ levels)
    below = np.cumsum(shares)
    used = shares[shares > 0]
    low, high = np.searchsorted(below, (0.05, 0.95))
    middle = grey.shape[1] // 2
    left, right = cv2.mean(grey[:, :middle])[0], cv2.mean(grey[:, -middle:])[0]
    return {
        "luminance_mean": mean,
        "luminance_spread": float(np.sqrt(max(0.0, float(shares @ (levels - mean) ** 2)))),
        "underexposed": float(below[_DARK]),
        "overexposed": float(shares[_BRIGHT:].sum()),
        "dynamic_range": abs(float(used @ np.log2(used))),
        "contrast": float(high - low),
        "side_light": abs(left - right) / max(left + right, 1.0),
    }


def _of_edges(grey: np.ndarray) -> dict[str, float]:
    """What differences of neighbours and the spectrum show."""
    exact = grey.astype(np.float32)
    spread = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1]
    residue = np.ascontiguousarray(cv2.filter2D(grey, cv2.CV_16S, _IMMERKAER)[1:-1, 1:-1])
    return {
        "sharpness": float(spread[0, 0]) ** 2,
        "noise": _NOISE_SCALE * cv2.norm(residue, cv2.NORM_L1) / residue.size,
        "detail": _detail(exact),
        "blocking": _blocking(grey),
    }


def _detail(grey: np.ndarray) -> float:
    # A Haar transform is orthogonal: what means of 2x2 pixels do not hold is in the finest scale.
    centred = grey - np.float32(cv2.mean(grey)[0])
    height, width = (side // 2 for side in grey.shape)
    coarse = cv2.resize(centred, (width, height), interpolation=cv2.INTER_AREA)
    whole = cv2.norm(centred, cv2.NORM_L2SQR)
    return max(0.0, 1.0 - 4 * cv2.norm(coarse, cv2.NORM_L2SQR) / whole) if whole > 1 else 0.0  # less is rounding


def _blocking(grey: np.ndarray) -> float:
    """1 where nothing changes at all."""
    border = inside = 0.0
    for along, steps in ((0, cv2.absdiff(grey[:, 1:], grey[:, :-1])), (1, cv2.absdiff(grey[1:], grey[:-1]))):
        means = cv2.reduce(steps, along, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
        at_border = means[_BLOCK - 1 :: _BLOCK]
        border += float(at_border.mean())
        inside += float(means.sum() - at_border.sum()) / (len(means) - len(at_border))
    return border / inside if inside > 0 else 1.0


def _of_colour(image: np.ndarray) -> dict[str, float]:
    red, green, blue = cv2.split(image)
    yellow = cv2.addWeighted(red, 0.5, green, 0.5, 0, dtype=cv2.CV_32F)
    opponents = cv2.subtract(red, green, dtype=cv2.CV_16S), cv2.subtract(yellow, blue, dtype=cv2.CV_32F)
    (rg, rg_spread), (yb, yb_spread) = (
        (float(mean[0, 0]), float(spread[0, 0])) for mean, spread in map(cv2.meanStdDev, opponents)
    )
    span = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return {
        "colourfulness": float(np.hypot(rg_spread, yb_spread) + 0.3 * np.hypot(rg, yb)),
        "grey": cv2.countNonZero(cv2.compare(span, _GREY, cv2.CMP_LE)) / span.size,
    }
