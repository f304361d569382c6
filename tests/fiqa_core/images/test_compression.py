"""Compression on the scale of JPEG writers: from tables where there are any, else from blocks."""

import cv2
import numpy as np
import pytest

from fiqa_core.images.compression import compression_quality
from fiqa_core.images.quantisation import quantisation_step


@pytest.mark.parametrize("quality", [1, 2, 5, 10, 25, 49, 50, 75, 90, 95, 100])
def test_tables_of_a_file_give_the_quality_that_its_writer_was_set_to(quality):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    step = quantisation_step(data)
    assert step is not None
    assert compression_quality(np.array([step]), np.array([9.0])) == pytest.approx([quality], abs=0.5)


def test_blocks_count_only_where_the_file_has_no_tables_and_what_neither_shows_is_not_known():
    quantisation = np.array([0, np.nan, 0, np.nan])  # without loss; a format that does not say; the same twice
    blocking = np.array([1.0, 4.0, 100.0, np.nan])
    found = compression_quality(quantisation, blocking)
    assert found[:3] == pytest.approx([100, 5, 2], abs=0.2)
    assert np.isnan(found[3])
    assert np.isnan(compression_quality(np.array([0.0]), np.array([np.nan]))).all()
