"""A look at the first pictures of a run: are they aligned crops, which is what a score is about?"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.images.admission import ImageRejected

LOOK_AT = 64
_WORTH_SAYING = 0.1  # share of pictures that are not aligned; fewer are odd crops, as any dataset has


@dataclass(frozen=True)
class FirstLook:
    """What was seen.

    Attributes:
        looked: pictures. not_aligned: those with a face that is not where an aligned crop has it. no_face: those
            in which no face was found.
    """

    looked: int
    not_aligned: int
    no_face: int

    @property
    def warning(self) -> str | None:
        """What to tell a person; None where the pictures look like aligned crops."""
        if self.not_aligned <= _WORTH_SAYING * self.looked:
            return None
        without = f" (and in {self.no_face} no face was found)" if self.no_face else ""
        return (
            f"{self.not_aligned} of {self.looked} are not aligned crops{without}; scores of such pictures mean little: "
            "--align"
        )


def look_at_first(pictures: Iterable[np.ndarray], aligner: Aligner, most: int = LOOK_AT) -> FirstLook:
    """Look at the first `most` of decoded pictures, uint8 RGB (H, W, 3) each, upright."""
    looked = not_aligned = no_face = 0
    for pixels in islice(pictures, most):
        looked += 1
        try:
            not_aligned += any(each.pixels is not None for each in aligner.align(pixels))
        except ImageRejected:
            no_face += 1
    return FirstLook(looked, not_aligned, no_face)
