"""The search as Beam jobs: the same bytes in one process and in two."""

from pathlib import Path

import pytest

from fiqa_core.curation import gather
from fiqa_core.curation.embeddings import EmbeddingSource
from fiqa_core.curation.findings_settings import FindingsSettings
from fiqa_core.curation.parts import find_parts
from pipelines.findings_job import find
from pipelines.runners import beam_options
from tests.makers.embedded import people_images, write_quality


def files(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((output / "findings").iterdir())}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    vectors, person = people_images(30, 6)
    labels = [f"p{(who + (row % 29 == 0)) % 30}" for row, who in enumerate(person)]
    return find_parts([str(write_quality(tmp_path_factory.mktemp("t") / "t", labels, vectors, 50))])


def test_one_process_and_two_give_the_same_bytes(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "ROWS_A_TASK", 60)
    alone = find(parts, 180, EmbeddingSource(), FindingsSettings(), str(tmp_path / "a"), beam_options([], []))
    options = beam_options(["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"], [])
    both = find(parts, 180, EmbeddingSource(), FindingsSettings(), str(tmp_path / "b"), options)
    assert alone.counts == both.counts
    assert alone.counts["verdict_wrong_label"] >= 6
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not (tmp_path / "a" / "_findings").exists()
