"""The search as Beam jobs: the same bytes as without Beam. (Tasks in other processes: tests of findings.)"""

from pathlib import Path

import pytest

from fiqa_core.curation.findings import partition_embeddings as gather
from fiqa_core.curation.findings.search import Search
from fiqa_core.curation.findings.search import find as search_for
from fiqa_core.curation.findings.settings import FindingsSettings
from fiqa_core.curation.findings.tasks import run_here
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import find_parts
from pipelines.jobs.findings_job import find
from pipelines.runners.beam_options import beam_options
from tests.makers.embedded import people_images, write_quality


def files(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((output / "findings").iterdir())}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    vectors, person = people_images(30, 6)
    labels = [f"p{(who + (row % 29 == 0)) % 30}" for row, who in enumerate(person)]
    return find_parts([str(write_quality(tmp_path_factory.mktemp("t") / "t", labels, vectors, 50))])


def test_beam_jobs_give_the_same_bytes_as_a_loop(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "ROWS_A_TASK", 60)
    loop = search_for(Search(parts, 180, EmbeddingSource(), FindingsSettings(), str(tmp_path / "a"), 1), run_here)
    jobs = find(parts, 180, EmbeddingSource(), FindingsSettings(), str(tmp_path / "b"), beam_options([], []))
    assert loop.counts == jobs.counts
    assert loop.counts["verdict_wrong_label"] >= 6
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not (tmp_path / "b" / "_findings").exists()
