"""Numbers that a training run cannot work with, refused before its data is read."""

import math
from typing import TYPE_CHECKING, Any

from fiqa_core.training.errors import TrainingError

if TYPE_CHECKING:
    from fiqa_core.training.settings import TrainingSettings

# BatchNorm needs two samples; random generators take no negative seed.
_AT_LEAST: dict[str, float] = {
    "optimiser.batch": 2, "optimiser.warmup_epochs": 0, "optimiser.weight_decay": 0, "optimiser.power": 0,
    "run.seed": 0, "run.log_steps": 1, "run.keep": 1, "run.threads": 0, "run.checkpoint_minutes": 0,
    "network.width": 1, "network.depth": 1, "network.heads": 1,
    "loss.alpha": 0, "loss.margin": 0,
    "data.workers": 0, "teacher.copies": 1, "teacher.seed": 0, "teacher.weight": 0,
}  # fmt: skip
_ABOVE_NOTHING = ("optimiser.epochs", "optimiser.lr", "optimiser.clip", "loss.scale", "loss.beta", "teacher.std")
_BELOW_ONE = ("network.mask_ratio", "network.drop_path", "optimiser.ema", "augment.jitter", "teacher.clean_share")
_AT_MOST: dict[str, float] = {"data.workers": 256}  # a slip of the keyboard would fill the machine with processes
_PROBABILITIES = ("augment.flip", "augment.degrade")


def refuse_out_of_range(settings: "TrainingSettings") -> None:
    """Raises TrainingError that names the setting, what was found and what is expected."""
    for name, least in _AT_LEAST.items():
        _expect(settings, name, lambda value, least=least: value >= least, f"at least {least}")
    for name, most in _AT_MOST.items():
        _expect(settings, name, lambda value, most=most: value <= most, f"at most {most}")
    for name in _ABOVE_NOTHING:
        _expect(settings, name, lambda value: value > 0, "more than 0")
    for name in _BELOW_ONE:
        _expect(settings, name, lambda value: 0 <= value < 1, "0 <= value < 1")
    for name in _PROBABILITIES:
        _expect(settings, name, lambda value: 0 <= value <= 1, "0 <= value <= 1")
    config = settings.network.config()
    if settings.run.score_only and config.mode != "token":
        raise TrainingError(
            f"run.score_only: mode {config.mode} scores the embedding and needs all of the network; leave it out"
        )


def _expect(settings: "TrainingSettings", name: str, fits: Any, expected: str) -> None:
    block, _, key = name.partition(".")
    value = getattr(getattr(settings, block), key, None)  # a run without a teacher, a width that is not given
    if value is not None and not (math.isfinite(value) and fits(value)):
        raise TrainingError(f"{name} is {value}; expected {expected}")
