"""Quality components of ISO/IEC 29794-5: from a component's own value to 0..100, higher = better.

The mappings are those of OFIQ 1.1 (github.com/BSI-OFIQ/OFIQ-Project, the standard's reference implementation), with the
constants of its `ofiq_config.jaxn`. They take and give float64 arrays of any shape; NaN stays NaN. Results are whole
numbers.
"""

from collections.abc import Callable

import numpy as np

_MOST_EXPONENT = 700.0  # of e, as float64


def quality_of(component: str, values: np.ndarray) -> np.ndarray:
    """The quality component, 0..100, of a component's values (`QUALITIES` has the names)."""
    return np.asarray(np.clip(rounded(QUALITIES[component](np.asarray(values, np.float64))), 0.0, 100.0))


def rounded(values: np.ndarray) -> np.ndarray:
    """To whole numbers, halves away from zero, as C's `round`."""
    return np.asarray(np.copysign(np.floor(np.abs(values) + 0.5), values))


def _sigmoid(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    exponent = np.clip((centre - values) / width, -_MOST_EXPONENT, _MOST_EXPONENT)
    return np.asarray(1.0 / (1.0 + np.exp(exponent)))


def _rising(centre: float, width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: 100.0 * _sigmoid(values, centre, width)


def _falling_from_zero(width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: 200.0 * (1.0 - _sigmoid(values, 0.0, width))


def _of_mean(mean: np.ndarray) -> np.ndarray:
    return 100.0 * _sigmoid(mean, 0.2, 0.05) * (1.0 - _sigmoid(mean, 0.8, 0.05))


def _of_variance(variance: np.ndarray) -> np.ndarray:
    return np.asarray(100.0 * np.sin(np.pi * 60.0 * variance / (60.0 * variance + 1.0)))


def _of_angle(degrees: np.ndarray) -> np.ndarray:
    return np.asarray(100.0 * np.cos(np.radians(degrees)) ** 2)


def _of_head_size(share: np.ndarray) -> np.ndarray:
    return _falling_from_zero(0.05)(np.abs(share - 0.45))


QUALITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "luminance_mean": _of_mean,
    "luminance_variance": _of_variance,
    "under_exposure_prevention": lambda share: 120.0 * (0.832 - _sigmoid(share, 0.92, 0.05)),
    "over_exposure_prevention": lambda share: 1.0 / (share + 0.01),
    "dynamic_range": lambda bits: 12.5 * bits,
    "illumination_uniformity": lambda share: 100.0 * share**0.3,
    "natural_colour": _falling_from_zero(10.0),
    "pose_yaw": _of_angle,
    "pose_pitch": _of_angle,
    "pose_roll": _of_angle,
    "inter_eye_distance": _rising(70.0, 20.0),
    "head_size": _of_head_size,
    "leftward_crop_of_the_face_image": _rising(0.9, 0.1),
    "rightward_crop_of_the_face_image": _rising(0.9, 0.1),
    "margin_above_of_the_face_image": _rising(1.4, 0.1),
    "margin_below_of_the_face_image": _rising(1.8, 0.1),
}
