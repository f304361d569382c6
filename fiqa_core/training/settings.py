"""What a training run depends on, as read from a YAML file with one block a dataclass."""

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fiqa_core.networks.architectures import named
from fiqa_core.networks.vit_fiqa import Mode, ViTConfig
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.teacher import TeacherSettings

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


@dataclass(frozen=True)
class DataSettings:
    """The images.

    Attributes:
        input: URIs, folders or globs of shards, as for scoring. format, label_field, image_field, channel_order: too.
        decisions: the `decisions` folder that filtering wrote of them: rows it does not keep are not trained on, and
            its `weight` scales a sample's loss. None: all labelled images, each with weight 1.
        shuffle: records that wait in memory to be drawn in random order (fewer where they are over 2 GiB together).
        workers: processes that decode and augment for each training process, with one more that reads; 0: all of it in
            the training process; None: as many as fit the device and the cores (fiqa_core.training.worker_count). Not
            a setting that shapes weights: a run can go on with another number.
    """

    input: tuple[str, ...]
    format: str = "auto"
    label_field: str = ""
    image_field: str = ""
    channel_order: Literal["rgb", "bgr-files"] = "rgb"
    decisions: str | None = None
    shuffle: int = 20_000
    workers: int | None = None


@dataclass(frozen=True)
class NetworkSettings:
    """The network: `arch` (vit_t, vit_s, vit_b) or a size of one's own; see fiqa_core.networks.vit_fiqa."""

    arch: str | None = None
    width: int | None = None
    depth: int | None = None
    heads: int = 8
    patch: int = 9
    mode: Mode = "token"
    mask_ratio: float = 0.1
    drop_path: float = 0.1

    def config(self) -> ViTConfig:
        """The network's configuration. Raises TrainingError if it is not one of a ViT."""
        if (self.arch is None) == (self.width is None or self.depth is None):
            raise TrainingError("network: give either arch (vit_t, vit_s, vit_b) or both width and depth")
        try:
            if self.arch is None:
                return ViTConfig(int(self.width or 0), int(self.depth or 0), self.heads, self.patch, mode=self.mode)
            config = named(self.arch, self.mode).config
        except ValueError as error:
            raise TrainingError(f"network: {error}") from error
        if not isinstance(config, ViTConfig):
            raise TrainingError(f"network: {self.arch} is no ViT; expected vit_t, vit_s or vit_b")
        return config


@dataclass(frozen=True)
class LossSettings:
    """Weights and constants of fiqa_core.training.losses; `margin` is m, `scale` is s."""

    alpha: float = 10.0
    beta: float = 0.5
    scale: float = 64.0
    margin: float = 0.4


@dataclass(frozen=True)
class TeacherOptions(TeacherSettings):
    """A teacher (fiqa_core.training.teacher) and how it is used.

    Attributes:
        pool: folder on the local disk for the images made and the teacher's embeddings; None: in the output.
        copies: images made of each face, the clean one among them. clean_share: share of clean images in an epoch.
        seed: of the degradations.
        loss: cosine or mse, of embeddings. weight: of that loss. margin_softmax: add L_FR to it.
        natural: what a face with no other image of its identity is taken to be worth (fiqa_core.training.distill).
    """

    pool: str | None = None
    copies: int = 8
    clean_share: float = 0.25
    seed: int = 0
    loss: Literal["cosine", "mse"] = "cosine"
    weight: float = 1.0
    margin_softmax: bool = False
    natural: bool = True


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW with linear warm-up and polynomial decay.

    Attributes:
        batch: images a step of one process. epochs, warmup_epochs: may be fractions.
        power: of the decay, 1 = linear. clip: largest norm of the network's gradient.
        precision: fp32, or bf16 or fp16 autocast. ema: decay of the running mean of the weights that is kept as the
            result; 0 = the last weights.
    """

    batch: int = 256
    epochs: float = 20
    warmup_epochs: float = 2
    lr: float = 1e-3
    weight_decay: float = 0.05
    power: float = 1.0
    clip: float = 5.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    ema: float = 0.0


@dataclass(frozen=True)
class RunSettings:
    """How the run goes; nothing of it changes a weight but `seed`.

    Attributes:
        output: folder on a disk that every process sees. device: auto, cpu, cuda or cuda:N.
        threads: of torch on a CPU, 0 = its own choice; decode_threads: that decode images beside it, where
            `data.workers` is 0.
        keep: checkpoints kept. score_only: also write `model.safetensors` of this type (float32 or float16) without the
            embedding head, which a score in mode token does not need.
    """

    output: str
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    decode_threads: int = 2
    log_steps: int = 50
    checkpoint_minutes: float = 10
    keep: int = 2
    score_only: Literal["float32", "float16"] | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """All of it."""

    data: DataSettings
    run: RunSettings
    network: NetworkSettings
    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    teacher: TeacherOptions | None = None

    def that_shape_weights(self) -> dict[str, Any]:
        """What two runs must share to be one run: a checkpoint is resumed only where this is equal."""
        values = dataclasses.asdict(self)
        values["run"] = {"seed": self.run.seed}
        if self.teacher:
            del values["teacher"]["pool"], values["teacher"]["model"]
        values["data"]["input"] = list(self.data.input)
        del values["data"]["workers"]
        return values


def parse(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainingSettings:
    """Settings of a YAML file's content and overrides such as `optimiser.lr=3e-4` (values in YAML).

    Raises:
        TrainingError: a name that is not known, a value that is missing, of another type or out of range.
    """
    import yaml

    tree: dict[str, Any] = {
        name: dict(block) if isinstance(block, Mapping) else block for name, block in values.items()
    }
    for override in overrides:
        name, equals, text = override.partition("=")
        block, dot, key = name.strip().partition(".")
        if not equals:
            raise TrainingError(f"--set {override}: expected block.name=value, such as optimiser.lr=3e-4")
        if not dot:
            tree[block] = yaml.safe_load(text)
            continue
        if not isinstance(tree.get(block), dict):
            tree[block] = {}
        tree[block][key] = yaml.safe_load(text)
    settings = typing.cast(TrainingSettings, _dataclass(TrainingSettings, tree, ""))
    _refuse_out_of_range(settings)
    return settings


def _refuse_out_of_range(settings: TrainingSettings) -> None:
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


def _expect(settings: TrainingSettings, name: str, fits: Any, expected: str) -> None:
    block, _, key = name.partition(".")
    value = getattr(getattr(settings, block), key, None)  # a run without a teacher, a width that is not given
    if value is not None and not (math.isfinite(value) and fits(value)):
        raise TrainingError(f"{name} is {value}; expected {expected}")


def _dataclass(kind: Any, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise TrainingError(f"{path or 'the configuration'}: expected names and values, found {_shown(values)}")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    if unknown := sorted(str(name) for name in values if name not in fields):
        if len(unknown) == len(values):  # another file's names are not told
            unknown = [f"none of the {len(unknown)} names" if len(unknown) > 1 else "the only name"]
        where = f" in {path}" if path else ""
        raise TrainingError(f"{', '.join(unknown)}: not known{where}; expected {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    missing = [
        name
        for name, entry in fields.items()
        if name not in values and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise TrainingError(f"{path + ': ' if path else ''}{', '.join(missing)} must be given")
    return kind(**{name: _value(hints[name], value, f"{path}.{name}".strip(".")) for name, value in values.items()})


def _shown(value: Any) -> str:
    """A setting's value, shortened: an alias in YAML makes a few bytes stand for a billion."""
    return reprlib.repr(value)


def _value(hint: Any, value: Any, path: str) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # of a Literal it is typing's own
        kinds = typing.get_args(hint)
        if value is None and type(None) in kinds:
            return None
        hint = next(kind for kind in kinds if kind is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise TrainingError(f"{path}: expected {' or '.join(typing.get_args(hint))}, found {_shown(value)}")
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, path)
    if typing.get_origin(hint) is tuple:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
            raise TrainingError(f"{path}: expected a text or a list of texts, found {_shown(value)}")
        return tuple(items)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text: it wants 1.0e-3.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TrainingError(f"{path}: expected {hint.__name__}, found {_shown(value)}")
    return value
