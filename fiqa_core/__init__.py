"""Face image quality for face recognition data sets: networks, scoring and shard formats (no Beam)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiqa_core.alignment.aligner import Aligner
    from fiqa_core.images.decode import ImageLimits, ImageRejected
    from fiqa_core.images.preprocess import ChannelOrder
    from fiqa_core.scoring.onnx_scorer import OnnxScorer
    from fiqa_core.scoring.scorer import QualityScorer

__all__ = ["Aligner", "ChannelOrder", "ImageLimits", "ImageRejected", "OnnxScorer", "QualityScorer"]

_HOMES = {
    "Aligner": "fiqa_core.alignment.aligner",
    "ChannelOrder": "fiqa_core.images.preprocess",
    "ImageLimits": "fiqa_core.images.decode",
    "ImageRejected": "fiqa_core.images.decode",
    "OnnxScorer": "fiqa_core.scoring.onnx_scorer",
    "QualityScorer": "fiqa_core.scoring.scorer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: planning a job or reading a table needs neither torch nor an image library."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fiqa_core' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
