"""All that changes a score: two outputs with equal settings and equal input are equal tables."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from fiqa_core.shards.unit import ReadSettings
from schemas import versions


@dataclass(frozen=True)
class ScoreSettings:
    """What a score depends on besides the image.

    Attributes:
        arch, mode: the network, as recognised from the checkpoint; checkpoint_sha256: of the file's bytes.
        precision: fp32, bf16, fp16 or int8; channel_order: rgb or bgr-files.
        embeddings: none, float16 or float32; embedding_dim: numbers in one (0 for none).
        min_side, max_side, max_pixels: limits of an admitted image, in pixels.
        read: names of columns and fields, and the limit of stored bytes.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def digest(self) -> str:
        """16 hexadecimal digits that differ when any setting does."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
