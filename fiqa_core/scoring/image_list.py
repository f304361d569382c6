"""Scores of a list of pictures in memory or in files, by any scorer whose network gives a quality."""

import logging
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.first_look import FirstInputs
from fiqa_core.images.admission import ImageRejected
from fiqa_core.scoring.batch_scorer import BatchScorer

_log = logging.getLogger(__name__)


def score_images(
    scorer: BatchScorer,
    images: Iterable[Any],
    errors: Literal["raise", "nan"],
    aligner: Aligner | None,
    first: FirstInputs,
) -> np.ndarray:
    """Quality, float32 (N,), of paths, PIL images or uint8 RGB arrays; arguments and errors as in
    `QualityScorer.score`. `first` warns where pictures are not aligned.
    """
    from fiqa_core.images.preprocess import from_image, is_one_image

    if is_one_image(images):
        raise TypeError("score() takes a list of images, and this is one image: give it as score([image])[0]")
    if errors not in ("raise", "nan"):
        raise ValueError(f"errors is {errors!r}; expected 'raise' or 'nan'")
    qualities: list[float] = []
    batch: list[np.ndarray] = []
    places: list[int] = []

    def score_batch() -> None:
        found = scorer.score_pixels(np.stack(batch)).quality
        for place, quality in zip(places, np.asarray(found), strict=True):
            qualities[place] = quality
        batch.clear()
        places.clear()

    for number, image in enumerate(images):
        qualities.append(np.nan)
        try:
            batch.append(from_image(image, align=None if aligner is None else aligner.crop))
            if aligner is None:
                first.see(batch[-1])
            places.append(number)
        except ImageRejected as error:
            message = f"image {number}: {error.message}"
            if errors == "raise":
                raise ImageRejected(error.status, message, error.width, error.height) from error
            _log.warning("%s", message)
        except OSError as error:
            if errors == "raise":
                raise
            _log.warning("image %d: %s", number, error)
        except TypeError as error:
            raise TypeError(f"image {number}: {error}") from error
        if len(batch) == scorer.batch_size:
            score_batch()
    if batch:
        score_batch()
    first.warn()
    return np.array(qualities, np.float32)
