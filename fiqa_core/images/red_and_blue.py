"""Whether files hold red first, as any ordinary file, or blue: skin is redder than blue whatever its tone."""

from dataclasses import dataclass

import numpy as np

_LEAST_DIFFERENCE = 2.0  # grey levels; below it a picture is grey, or its light hides the skin's tone
_FEWEST = 8
_PLAIN = 0.8


@dataclass
class RedAndBlue:
    """Pictures of faces by which of red and blue is stronger in their middle; grey ones are not counted.

    Attributes:
        red: pictures in which red is stronger. blue: those in which blue is.
    """

    red: int = 0
    blue: int = 0

    def add(self, pixels: np.ndarray) -> None:
        """Count a picture, uint8 (H, W, 3), red first if the file is an ordinary one; its middle must be a face."""
        height, width = pixels.shape[:2]
        middle = pixels[height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)]
        difference = float(middle[:, :, 0].mean()) - float(middle[:, :, 2].mean())
        self.red += difference >= _LEAST_DIFFERENCE
        self.blue += difference <= -_LEAST_DIFFERENCE

    @property
    def exchanged(self) -> bool | None:
        """Whether the files have red and blue exchanged: plainly so, plainly not, or None where it cannot be told."""
        coloured = self.red + self.blue
        if coloured < _FEWEST:
            return None
        if self.blue >= _PLAIN * coloured:
            return True
        return False if self.red >= _PLAIN * coloured else None
