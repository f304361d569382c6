"""Beam's counters of a scoring job: what a runner's user interface shows of it."""

from dataclasses import replace

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.settings import ScoreSettings
from tests.fakes import MeanScorerSource
from tests.shared import lfw_faces, needs_shared
from transforms.score import COUNTERS, ScoreDataset


def counts(units, output) -> dict[str, int]:
    pipeline = beam.Pipeline(FnApiRunner())
    scoring = ScoreDataset(MeanScorerSource(), ScoreSettings("none", "none", "0" * 64), str(output), len(units))
    _ = pipeline | beam.Create(units) | scoring
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace(COUNTERS))["counters"]
    return {counter.key.metric.name: counter.result for counter in found}


@needs_shared
def test_counters_agree_with_the_records_and_name_the_reasons(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for key, _, data in lfw_faces(5):
        (folder / f"{key}.jpg").write_bytes(data)
    (folder / "z_text.jpg").write_bytes(b"no image")
    units = plan_dataset([str(folder)], "folder", 4, str(tmp_path / "plan")).units
    first = counts(units, tmp_path / "out")
    assert first == {"records": 6, "rejected": 1, "units_done": 2, "status_scored": 5, "status_not_an_image": 1}
    assert counts(units, tmp_path / "out") == {"records_kept": 6, "rejected_kept": 1, "units_kept": 2}


def test_a_unit_that_fails_is_counted(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (unit,) = plan_dataset([str(tmp_path)], "folder", 4, str(tmp_path / "plan")).units
    assert counts([replace(unit, records=2)], tmp_path / "out")["units_failed"] == 1
