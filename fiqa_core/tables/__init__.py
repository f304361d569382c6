"""Tables of scores and embeddings: how they are read, and whether they are complete; `load_quality` and faces for
notebooks."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiqa_core.tables.face_view import faces_of
    from fiqa_core.tables.faces import Face, read_faces
    from fiqa_core.tables.notebook import column_meanings, embedding_matrix, load_quality

__all__ = ["Face", "column_meanings", "embedding_matrix", "faces_of", "load_quality", "read_faces"]

_MODULES = {
    "Face": "faces",
    "column_meanings": "notebook",
    "embedding_matrix": "notebook",
    "faces_of": "face_view",
    "load_quality": "notebook",
    "read_faces": "faces",
}


def __getattr__(name: str) -> Any:
    """Import on first use: code that reads rows does not need pandas."""
    if name not in _MODULES:
        raise AttributeError(f"module 'fiqa_core.tables' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fiqa_core.tables.{_MODULES[name]}"), name)
