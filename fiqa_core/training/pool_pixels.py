"""The images of a teacher's pool, read through memory maps by every process that needs them."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PoolPixels:
    """Rows of a pool. Pickling stores only the names of the files; another process maps them itself.

    Attributes:
        parts: pixels of each part, uint8 (rows, 112, 112, 3). firsts: its first row among all.
        chosen: rows of the parts that belong to it; None: all.
    """

    parts: tuple[np.ndarray, ...]
    firsts: np.ndarray
    chosen: np.ndarray | None = None

    def of(self, places: np.ndarray) -> np.ndarray:
        """Pixels of rows, uint8 (B, 112, 112, 3) RGB, in the order asked for; or features, as the parts have them."""
        found = np.empty((len(places), *self.parts[0].shape[1:]), self.parts[0].dtype)
        if self.chosen is not None:
            places = self.chosen[places]
        owner = np.searchsorted(self.firsts, places, "right") - 1
        for number in np.unique(owner):
            here = owner == number
            found[here] = self.parts[number][places[here] - self.firsts[number]]
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        files = [(str(part.filename), part.offset, part.shape) for part in self.parts if isinstance(part, np.memmap)]
        if len(files) < len(self.parts):  # arrays in memory
            return PoolPixels, (self.parts, self.firsts, self.chosen)
        return _mapped, (files, self.firsts, self.chosen)


def _mapped(files: list[tuple[str, int, tuple[int, ...]]], firsts: np.ndarray, chosen: np.ndarray | None) -> PoolPixels:
    parts = tuple(np.memmap(name, np.uint8, "r", offset, shape) for name, offset, shape in files)
    return PoolPixels(parts, firsts, chosen)
