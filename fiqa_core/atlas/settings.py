"""What an atlas shows, and how its map is made."""

from dataclasses import asdict, dataclass
from typing import Any

from fiqa_core.lines_error import LinesError

# About the most points that a browser shows fluently with their pictures, and that one core places in minutes.
MOST_POINTS = 50_000
SIDE = 64


class AtlasError(LinesError):
    """An atlas cannot be made as asked; the message says what was found and what to do."""


@dataclass(frozen=True)
class AtlasSettings:
    """All options that decide what is written.

    Attributes:
        points: at most so many rows are placed; of more a sample, which `seed` decides as it decides the map.
        perplexity: about how many neighbours of a point count. side: largest side of a thumbnail in pixels.
        columns: further columns of the quality table or of the decisions.
    """

    points: int = MOST_POINTS
    seed: int = 0
    perplexity: float = 30.0
    side: int = SIDE
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For `run.json` and the file's metadata."""
        return asdict(self) | {"columns": list(self.columns)}
