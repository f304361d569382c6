"""Rules that need what a calibration says of the scores, and those that mean nothing where networks are mixed."""

from collections.abc import Sequence

from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.settings.fields import SettingError
from fiqa_core.tables.quality_files import TableFile


def check_columns(policy: Policy, files: Sequence[TableFile], scale: str) -> None:
    """Refuse rules whose columns are missing, and thresholds in scores where these are of several networks.

    Args:
        scale: `percentile` where the tables are of several networks; else `quality`.

    Raises:
        SettingError: it names the rule.
    """
    for column, name, value in (
        ("percentile", "min_percentile", policy.quality.min_percentile),
        ("predicted_fnmr", "max_predicted_fnmr", policy.quality.max_predicted_fnmr),
    ):
        lacking = next((file for file in files if column not in file.columns), None)
        if value is not None and lacking is not None:
            raise SettingError(
                f"quality: {name} needs the column {column!r}, which {lacking.url} does not have: score the set with "
                "--calibration (docs/calibration.md)"
            )
    if scale == "quality":
        return
    in_scores = {
        "quality: min": policy.quality.min is not None,
        "tiers: by quality": policy.tiers.by == "quality",
        "weights: linear": policy.weights.mode == "linear",
    }
    for rule, used in in_scores.items():
        if used:
            raise SettingError(
                f"{rule} is a threshold in scores, but the tables are of several networks, whose scores are on "
                "different scales: use shares or quantiles, min_percentile or max_predicted_fnmr"
            )
