"""All that changes a score: two outputs with equal settings and equal input are equal tables."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fiqa_core.alignment.settings import AlignSettings, CropSettings
from fiqa_core.networks.exits import Fuse
from fiqa_core.networks.onnx_input import OnnxInput
from fiqa_core.scoring.calibration import Calibration
from fiqa_core.scoring.precision import is_half
from fiqa_core.shards.sample import Sample
from fiqa_core.shards.unit import ReadSettings
from schemas import versions

_LATER = (
    "flip",
    "onnx",
    "phash",
    "batch_size",
    "compiled",
    "align",
    "crops",
    "sample",
    "calibration",
    "exit",
    "measures",
    "fuse",
)


@dataclass(frozen=True)
class ScoreSettings:
    """What a score depends on besides the image.

    Attributes:
        arch, mode: the network, as recognised from the checkpoint; checkpoint_sha256: of the file's bytes.
        precision: fp32, bf16, fp16 or int8; channel_order: rgb or bgr-files.
        embeddings: none, float16 or float32; embedding_dim: numbers in one (0 for none).
        min_side, max_side, max_pixels: limits of an admitted image, in pixels.
        read: names of columns and fields, and the limit of stored bytes.
        flip: whether an embedding is that of the image followed by that of its horizontal mirror image.
        onnx: what an ONNX network is fed and asked for; None for a checkpoint.
        phash: whether the table has the columns `phash` and `thumb`.
        compiled: whether the network was compiled by torch.compile, which changes scores by rounding.
        align: how faces were found and aligned; None: pictures were scored as they are.
        crops: how aligned faces are written (align_dataset); None: they are not.
        calibration: what scores mean; adds the columns `percentile` and `predicted_fnmr`. None: they are left out.
        batch_size: images a forward pass, where it changes scores (`batch_that_counts`); else 0.
        sample: which part of the dataset was scored, where it was not the whole.
        exit: the block of a ViT after which its score was read, 0: the last; fuse: none, or how the scores after all
            blocks were averaged (`fiqa_core.networks.exits`).
        measures: whether the table has the columns of `schemas.component_measures`.
    """

    arch: str
    mode: str
    checkpoint_sha256: str
    embedding_dim: int = 0
    precision: str = "fp32"
    channel_order: str = "rgb"
    embeddings: str = "none"
    min_side: int = 16
    max_side: int = 10_000
    max_pixels: int = 40_000_000
    preprocessing: str = f"bilinear-112-v{versions.PREPROCESSING_VERSION}"
    read: ReadSettings = field(default_factory=ReadSettings)
    flip: bool = False
    onnx: OnnxInput | None = None
    phash: bool = False
    batch_size: int = 0
    compiled: bool = False
    align: AlignSettings | None = None
    crops: CropSettings | None = None
    sample: Sample | None = None
    calibration: Calibration | None = None
    exit: int = 0
    fuse: Fuse = "none"
    measures: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. Settings that were added later are included only if they are used, so that older
        tables keep their names and digest and can be resumed.
        """
        unused = {name for name in _LATER if getattr(self, name) == _DEFAULTS[name]}
        values = {name: value for name, value in asdict(self).items() if name not in unused}
        if self.calibration is not None:
            values["calibration"] = self.calibration.described()
        if not self.read.key_field:
            del values["read"]["key_field"]
        return values

    def digest(self) -> str:
        """16 hexadecimal digits that differ when any setting does."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def batch_that_counts(precision: str, batch_size: int) -> int:
    """The batch size as a setting: in half precision a score depends, in its third digit, on how many images share a
    forward pass; in fp32 and int8 it does not, so there it is 0."""
    return batch_size if is_half(precision) else 0


_DEFAULTS = {each.name: each.default for each in fields(ScoreSettings)}
