"""Settings with the calibration that --calibration names."""

import dataclasses

from fiqa_core.networks.exits import mode_read_at
from fiqa_core.scoring.calibration import CalibrationError, read_calibration
from fiqa_core.scoring.settings import ScoreSettings


def calibrated(settings: ScoreSettings, place: str | None) -> ScoreSettings:
    """The settings with the calibration in a file; unchanged for None.

    Raises:
        CalibrationError: not a calibration, or one of another network; or the network gives no quality.
    """
    if place is None:
        return settings
    if settings.onnx is not None and not settings.onnx.is_quality:
        raise CalibrationError("--calibration is for scores: this network gives embeddings (see --output-kind)")
    calibration = read_calibration(place)
    mode = mode_read_at(settings.mode, settings.exit, settings.fuse)
    calibration.check_network(settings.arch, mode, settings.checkpoint_sha256, place)
    return dataclasses.replace(settings, calibration=calibration)
