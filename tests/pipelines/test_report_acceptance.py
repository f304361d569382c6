"""A person finds planted wrong labels, duplicates and blurred faces from the report alone, whether dropped or not.

A small version of `benchmarks.report_acceptance`: the commands run on real faces, and Chromium reads the HTML.
"""

import shutil

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
    for report in make_reports(tmp_path / "faces", tmp_path, network).values():
        with opened(report, CHROMIUM) as page:
            result = compare(everything_shown(page), planted)
        assert all(result.planted[kind] for kind in KINDS)
        for kind in ("wrong label", "exact"):
            assert result.found[kind] == result.planted[kind], (report.name, kind)
        assert len(result.found["near"]) >= 0.6 * len(result.planted["near"])
        assert len(result.found["blurred"]) >= 0.9 * len(result.planted["blurred"])
        assert result.right["exact"] == result.shown["exact"]
