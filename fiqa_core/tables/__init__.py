"""Tables of scores and embeddings: reading them, and whether they may be used; `load_quality` for notebooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiqa_core.tables.notebook import column_meanings, embedding_matrix, load_quality

__all__ = ["column_meanings", "embedding_matrix", "load_quality"]


def __getattr__(name: str) -> Any:
    """Import on first use: reading a table's rows needs no pandas."""
    if name not in __all__:
        raise AttributeError(f"module 'fiqa_core.tables' has no attribute {name!r}")
    from fiqa_core.tables import notebook

    return getattr(notebook, name)
