"""Settings of a training run: a YAML file with one section for each dataclass here."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fiqa_core.settings import checks
from fiqa_core.settings.checks import Choice, Whole, above_zero, at_least_zero, count, fraction, optional, switch
from fiqa_core.settings.fields import SettingError, required, setting
from fiqa_core.settings.yaml_file import FileKind, Values, located, override, parse_settings, read_file, refuse_missing
from fiqa_core.shards.formats import input_formats
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.teacher import TeacherSettings
from fiqa_core.training.worker_count import RULE

if TYPE_CHECKING:  # the command line shows these settings, and starts without torch
    from fiqa_core.networks.vit_fiqa import ViTConfig

_MOST_WORKERS = 256  # a mistyped number would fill the machine with processes
_any_size = Whole(0)

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
    """The images to train on; the settings of scoring that concern reading have the same names here."""

    input: tuple[str, ...] = required(
        checks.names, "URIs, folders or globs of shards with labelled faces, as for scoring", "--input", "URI"
    )
    format: str = setting("auto", Choice(*input_formats()), "format of the shards")
    label_field: str = setting("", checks.text, "column or field with the label; empty: found by its name")
    image_field: str = setting("", checks.text, "column with the image; empty: found by its name")
    channel_order: Literal["rgb", "bgr-files"] = setting(
        "rgb", Choice("rgb", "bgr-files"), "bgr-files: the files have red and blue swapped"
    )
    decisions: str | None = setting(
        None,
        optional(checks.name),
        "the `decisions` folder that fiqa filter wrote: rows that it does not keep are left out, and its `weight` "
        "scales a sample's loss; without it all labelled images have weight 1",
    )
    labels: str | None = setting(
        None,
        optional(checks.name),
        "labels in place of those of the shards (and of `decisions`): a CSV or Parquet file with a key and a label a "
        "row; images of other keys are not trained on",
        "--labels",
        "FILE",
    )
    labels_key: str = setting("", checks.text, "column of the keys in that file; empty: found by its name")
    labels_column: str = setting("", checks.text, "column of the labels in that file; empty: found by its name")
    shuffle: int = setting(
        20_000, _any_size, "records in memory from which the next is drawn at random (fewer if they exceed 2 GiB)"
    )
    workers: int | None = setting(
        None,
        optional(Whole(0, _MOST_WORKERS)),
        "processes that decode and augment images for each training process, with one more that reads; 0: the training "
        f"process does it all. The result is the same ({RULE})",
        "--workers",
    )


@dataclass(frozen=True)
class NetworkSettings:
    """The network: `arch`, or `width` and `depth` of your own (fiqa_core/networks/vit_fiqa.py)."""

    arch: str | None = setting(None, optional(checks.name), "vit_t, vit_s or vit_b")
    width: int | None = setting(None, optional(count), "numbers in a token")
    depth: int | None = setting(None, optional(count), "number of blocks")
    heads: int = setting(8, count, "attention heads")
    patch: int = setting(9, count, "side of a patch, pixels")
    mode: Literal["token", "full", "crfiqa"] = setting(
        "token", Choice("token", "full", "crfiqa"), "where the quality score comes from"
    )
    stem: Literal["patch", "mobilefacenet"] = setting(
        "patch",
        Choice("patch", "mobilefacenet"),
        "what makes tokens of pixels: a projection of patches, or MobileFaceNet's convolutions (patch 8 or 16)",
    )
    start: str | None = setting(
        None, optional(checks.name), "URI of an ONNX MobileFaceNet whose weights the stem starts from"
    )
    frozen: int = setting(
        0,
        _any_size,
        "first layers of the stem that keep these weights; with a teacher and no `augment`, what they give is made "
        "once for each image of the pool",
    )
    mask_ratio: float = setting(0.1, fraction, "share of the patches that are masked in training")
    drop_path: float = setting(0.1, fraction, "stochastic depth: probability that the last block is skipped")

    def config(self) -> "ViTConfig":
        """The network's configuration. Raises SettingError if it does not describe a ViT."""
        from fiqa_core.networks.architectures import named
        from fiqa_core.networks.vit_fiqa import ViTConfig

        sizes = [size for size in (self.width, self.depth) if size is not None]
        if len(sizes) != (2 if self.arch is None else 0):
            raise SettingError("network: give either arch (vit_t, vit_s, vit_b) or both width and depth")
        try:
            if self.arch is None:
                width, depth = int(self.width or 0), int(self.depth or 0)
                return ViTConfig(width, depth, self.heads, self.patch, mode=self.mode, stem=self.stem)
            config = named(self.arch, self.mode).config
        except ValueError as error:
            raise SettingError(f"network: {error}") from error
        if not isinstance(config, ViTConfig):
            raise SettingError(f"network: {self.arch} is not a ViT; expected vit_t, vit_s or vit_b")
        return config


@dataclass(frozen=True)
class LossSettings:
    """Weights and constants of fiqa_core/training/losses.py."""

    alpha: float = setting(10.0, at_least_zero, "weight of the quality loss")
    beta: float = setting(0.5, above_zero, "where the SmoothL1 loss changes from square to linear")
    scale: float = setting(64.0, above_zero, "s of CosFace")
    margin: float = setting(0.4, at_least_zero, "m of CosFace")
    rank: float = setting(
        0.0, at_least_zero, "weight of a loss on the order of natural images (1 - Pearson's r); with a teacher only"
    )


@dataclass(frozen=True)
class TeacherOptions(TeacherSettings):
    """A teacher (fiqa_core/training/teacher.py) and how it is used."""

    pool: str | None = setting(
        None,
        optional(checks.name),
        "local folder for the images made and the teacher's embeddings; without it a folder in the output",
    )
    copies: int = setting(8, count, "images made of each face, including the clean one")
    clean_share: float = setting(0.25, fraction, "share of clean images in an epoch")
    seed: int = setting(0, _any_size, "seed of the degradations")
    loss: Literal["cosine", "mse"] = setting("cosine", Choice("cosine", "mse"), "loss between the embeddings")
    weight: float = setting(1.0, at_least_zero, "weight of that loss")
    margin_softmax: bool = setting(False, switch, "add the CosFace loss")
    jitter: float = setting(
        0.0, fraction, "copies are moved, scaled and turned by up to this (`augment.jitter`), half of them mirrored"
    )
    shrink: float = setting(
        0.0, checks.share, "share of that estimate in the quality of a face with other images of its identity"
    )
    natural: bool = setting(
        True, switch, "estimate the quality of a face without another image of its identity (docs/training.md)"
    )


@dataclass(frozen=True)
class SecondTeacher(TeacherSettings):
    """Another teacher, which sees the clean faces only: it has its say on their quality."""

    model: str = required(checks.name, "URI of an ONNX face recognition network, or the name of a known one")


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW with linear warm-up and polynomial decay."""

    batch: int = setting(256, Whole(2), "images per step of one process (BatchNorm needs two)")
    epochs: float = setting(20, above_zero, "passes over the data; may be a fraction")
    warmup_epochs: float = setting(2, at_least_zero, "epochs in which the learning rate rises; may be a fraction")
    lr: float = setting(1e-3, above_zero, "highest learning rate")
    stem_lr: float = setting(
        1.0, at_least_zero, "the learning rate of a convolutional stem that is not frozen, as a factor of `lr`"
    )
    weight_decay: float = setting(0.05, at_least_zero, "weight decay of AdamW")
    power: float = setting(1.0, at_least_zero, "exponent of the decay of the learning rate; 1: linear")
    clip: float = setting(5.0, above_zero, "largest norm of the network's gradient")
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", Choice("fp32", "bf16", "fp16"), "number type of the forward pass; bf16 and fp16 by autocast"
    )
    ema: float = setting(
        0.0, fraction, "decay of the running mean of the weights, which becomes the result; 0: the last weights"
    )


@dataclass(frozen=True)
class RunSettings:
    """How the run goes. Only `seed` changes the weights."""

    output: str = required(checks.name, "folder to write to, on a disk that every process sees", "--output", "FOLDER")
    seed: int = setting(0, _any_size, "seed of all random numbers but the teacher's")
    device: str = setting("auto", checks.name, "auto, cpu, cuda or cuda:N")
    threads: int = setting(0, _any_size, "threads of torch on a CPU; 0: torch decides")
    decode_threads: int = setting(2, _any_size, "threads that decode images if data.workers is 0")
    log_steps: int = setting(50, count, "steps between two log lines")
    checkpoint_minutes: float = setting(10, at_least_zero, "minutes between two checkpoints")
    keep: int = setting(2, count, "checkpoints that are kept")
    score_only: Literal["float32", "float16"] | None = setting(
        None,
        optional(Choice("float32", "float16")),
        "also write model.safetensors in this number type, without the embedding head (mode token does not need it)",
    )


@dataclass(frozen=True)
class TrainingSettings:
    """All settings of a run."""

    data: DataSettings
    run: RunSettings
    network: NetworkSettings
    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    teacher: TeacherOptions | None = None
    second_teacher: SecondTeacher | None = None

    def that_shape_weights(self) -> dict[str, Any]:
        """The settings that change the weights: a checkpoint is resumed only if these are equal."""
        values = dataclasses.asdict(self)
        values["run"] = {"seed": self.run.seed}
        if self.teacher:
            del values["teacher"]["pool"], values["teacher"]["model"]
        if self.second_teacher:
            del values["second_teacher"]["model"]
        values["data"]["input"] = list(self.data.input)
        del values["data"]["workers"]
        return values


SECTIONS: dict[str, Any] = {
    "data": DataSettings,
    "run": RunSettings,
    "network": NetworkSettings,
    "loss": LossSettings,
    "optimiser": OptimiserSettings,
    "augment": Augmentation,
    "teacher": TeacherOptions,
    "second_teacher": SecondTeacher,
}
_KIND = FileKind("training configuration", SECTIONS, "docs/training.md, examples in configs/")


def read_training(url: str, overrides: Sequence[str] = (), options: Values | None = None) -> TrainingSettings:
    """Settings of a YAML file, replaced by overrides such as `optimiser.lr=3e-4` (values in YAML), then by options.

    Raises:
        SettingError: the file is not there or not YAML, a name that is not known or occurs twice, a value that is
            missing, of another type or out of range, settings that contradict each other. It names file and line.
    """
    return parse_training(read_file(url, _KIND), url, overrides, options)


def parse_training(
    data: bytes, name: str, overrides: Sequence[str] = (), options: Values | None = None
) -> TrainingSettings:
    """As `read_training`, of the bytes of a file; `name` is what errors call it."""
    values = parse_settings(data, name, _KIND)
    for given in overrides:
        values = override(values, given, _KIND)
    for section, found in (options or {}).items():
        values = values | {section: values.get(section, {}) | found}
    try:
        return _training(values)
    except SettingError as error:
        raise located(error, data, name, _KIND) from error


def _training(values: Values) -> TrainingSettings:
    refuse_missing(values, _KIND, ["teacher", "second_teacher"])
    made = {
        section: SECTIONS[section](**values.get(section, {}))
        for section in SECTIONS
        if section in values or "teacher" not in section
    }
    settings = TrainingSettings(**made)
    config = settings.network.config()
    if settings.second_teacher and not settings.teacher:
        raise SettingError("second_teacher: there is no first one; call it teacher")
    network = settings.network
    if config.stem == "patch" and (network.start or network.frozen):
        raise SettingError("network.start, network.frozen: only a convolutional stem has them (stem: mobilefacenet)")
    if network.frozen and not network.start:
        raise SettingError("network.frozen: random weights would be kept; give network.start")
    if settings.run.score_only and config.mode != "token":
        raise SettingError(
            f"run.score_only: mode {config.mode} scores the embedding and needs the whole network; leave it out"
        )
    return settings
