"""Real materials beside the checkout; tests that need them skip where they are absent."""

from pathlib import Path

from tests.makers.faces import LFW as FACES
from tests.makers.faces import SHARED, lfw_faces
from tests.makers.faces import requires_shared as needs_shared
from tests.makers.stand_in import GOLDEN, write_checkpoint

__all__ = ["FACES", "GOLDEN", "SHARED", "lfw_faces", "needs_shared", "write_golden_checkpoint"]


def write_golden_checkpoint(name: str, path: Path) -> Path:
    """Stand-in weights of a golden network as a checkpoint."""
    return write_checkpoint(path, name)
