"""Simple measures that a quality network has to beat; they need no weights and score as a network does."""

import cv2
import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores

MEASURES: dict[str, str] = {
    "laplacian": "variance of the Laplacian of the grey image at 112x112 (Pech-Pacheco et al., ICPR 2000); sharper = "
    "higher, and so is noise",
    "stored-size": "bytes of the stored image; more detail and less compression = higher",
}


class LaplacianScorer(BatchScorer):
    """Quality = variance of the Laplacian of the grey image, in squared grey levels."""

    batch_size = 64

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Sharpness of uint8 RGB (B, 112, 112, 3)."""
        found = [cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for face in pixels]
        return Scores(np.array(found, np.float32), None)


class StoredSizeScorer(BatchScorer):
    """Quality = number of stored bytes (exact up to 16 MiB, then rounded to float32)."""

    batch_size = 64

    def score_batch(self, batch: FaceBatch) -> Scores:
        """The sizes themselves."""
        return Scores(batch.stored.astype(np.float32), None)


class NoScorer(BatchScorer):
    """Scores nothing: for align_dataset, which only looks for faces."""

    batch_size = 64

    def score_pixels(self, pixels: np.ndarray) -> Scores:  # noqa: ARG002
        """No quality and no embedding."""
        return Scores(None, None)
