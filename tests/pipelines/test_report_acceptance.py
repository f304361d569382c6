"""A person finds planted wrong labels, duplicates and blurred faces from the report alone, whether dropped or not.

A small version of `benchmarks.report_acceptance`: the commands run on real faces, and Chromium reads the HTML.
"""

import shutil

import pandas as pd
import pytest

from benchmarks.planted_faces import read_faces
from benchmarks.report_acceptance import KINDS, compare, make_reports, plant
from benchmarks.report_reader import everything_shown, opened
from tests.shared import FACES, SHARED, needs_shared

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IMAGES, OF_AN_IDENTITY = 130, 60


@needs_shared
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_person_finds_what_was_planted_from_the_report_alone(tmp_path):
    pytest.importorskip("onnxruntime")
    planted = plant(read_faces(FACES, IMAGES, "test", OF_AN_IDENTITY), tmp_path / "faces", 0)
    network = SHARED / "data" / "models" / "fr_edgeface_xxs.onnx"
    for name, report in make_reports(tmp_path / "faces", tmp_path, network).items():
        with opened(report, CHROMIUM) as page:
            result = compare(everything_shown(page), planted)
        assert all(result.planted[kind] for kind in KINDS)
        # What the page cannot show: a label on a face too poor to judge, a pair whose other half is gone for its wrong
        # label, a copy that was changed too much.
        for kind, least in (("wrong label", 0.6), ("exact", 0.8), ("near", 0.6), ("blurred", 0.9)):
            assert len(result.found[kind]) >= least * len(result.planted[kind]), kind
        decided = pd.read_parquet(tmp_path / name / "decisions")
        judged = set(decided.key[decided.label_verdict == "wrong_label"])
        assert result.found["wrong label"] == result.planted["wrong label"] & judged  # all that the search knows
        assert result.right["exact"] == result.shown["exact"]
        assert result.right["wrong label"] >= 0.9 * result.shown["wrong label"]
