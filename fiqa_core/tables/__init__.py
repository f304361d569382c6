"""Tables of scores and embeddings: how they are read, and whether they are complete; `load_quality` for notebooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiqa_core.tables.notebook import column_meanings, embedding_matrix, load_quality

__all__ = ["column_meanings", "embedding_matrix", "load_quality"]


def __getattr__(name: str) -> Any:
    """Import on first use: code that reads rows does not need pandas."""
    if name not in __all__:
        raise AttributeError(f"module 'fiqa_core.tables' has no attribute {name!r}")
    from fiqa_core.tables import notebook

    return getattr(notebook, name)
