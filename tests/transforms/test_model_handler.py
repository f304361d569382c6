"""The RunInference handler inside a user's own pipeline."""

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing.util import assert_that

from tests.shared import needs_shared, write_golden_checkpoint
from transforms.model_handler import FaceQualityModelHandler


@needs_shared
def test_run_inference_scores_arrays(tmp_path):
    path = write_golden_checkpoint("vit_t-token", tmp_path / "model.pt")
    handler = FaceQualityModelHandler(str(path), device="cpu", batch_size=4)
    images = [np.full((112, 112, 3), 10 * i, np.uint8) for i in range(6)]
    expected = dict(enumerate(handler.load_model().score(images).tolist()))

    def check(results):
        found = {int(r.example[0, 0, 0]) // 10: r.inference for r in results}
        assert found.keys() == expected.keys()
        assert max(abs(found[i] - expected[i]) for i in expected) < 1e-4

    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(images) | RunInference(handler), check)


def test_batches_have_one_size_and_are_measured_without_pickling():
    handler = FaceQualityModelHandler("model.pt", batch_size=32)
    assert handler.batch_elements_kwargs() == {"min_batch_size": 32, "max_batch_size": 32}
    assert handler.get_num_bytes([np.zeros((112, 112, 3), np.uint8)] * 2) == 2 * 112 * 112 * 3
