"""Simple measures that a quality network has to beat; they need no weights and score as a network does."""

from dataclasses import dataclass

import cv2
import numpy as np

from fiqa_core.scoring.batch_scorer import Scores

MEASURES: dict[str, str] = {
    "laplacian": "variance of the Laplacian of the grey image at 112x112 (Pech-Pacheco et al., ICPR 2000); sharper = "
    "higher, and so is noise",
    "stored-size": "bytes of the stored image; more detail and less compression = higher",
}


class LaplacianScorer:
    """Quality = variance of the Laplacian of the grey image, in squared grey levels."""

    batch_size = 64

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Sharpness of uint8 RGB (B, 112, 112, 3)."""
        found = [cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for face in pixels]
        return Scores(np.array(found, np.float32), None)


class StoredSizeScorer:
    """Quality = number of stored bytes (exact up to 16 MiB, then rounded to float32)."""

    batch_size = 64

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Not known from pixels.

        Raises:
            TypeError: always; `score_stored` is what tells.
        """
        raise TypeError(f"the stored size of {len(pixels)} images is not known from their pixels")

    def score_stored(self, stored: np.ndarray) -> Scores:
        """The sizes themselves: `stored` int64 (B,), bytes."""
        return Scores(stored.astype(np.float32), None)


@dataclass(frozen=True)
class MeasureSource:
    """Makes the scorer of a measure in the worker; its name goes where a network's would."""

    name: str

    def on(self, device: str) -> "MeasureSource":  # noqa: ARG002
        """The same: a measure needs no device."""
        return self

    def load(self) -> LaplacianScorer | StoredSizeScorer:
        """The scorer."""
        return LaplacianScorer() if self.name == "laplacian" else StoredSizeScorer()
