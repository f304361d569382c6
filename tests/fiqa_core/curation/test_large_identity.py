"""An identity with very many images is judged in bounded memory, as a small one is."""

import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.findings import search as findings
from fiqa_core.curation.findings.label_noise import centre_task, large_identity
from fiqa_core.curation.findings.label_noise import verdicts as label_noise
from fiqa_core.curation.findings.label_noise.identity_centres import robust_centres
from fiqa_core.curation.findings.label_noise.large_identity import large_centre
from fiqa_core.curation.findings.search import Search, find
from fiqa_core.curation.findings.settings import FindingsSettings, NearSettings
from fiqa_core.curation.findings.tasks import run_here
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import find_parts
from tests.makers.embedded import people_images, write_quality


@pytest.fixture(scope="module")
def crowd() -> np.ndarray:
    """20,000 images of one person and 2,000 of another, float16."""
    one, _ = people_images(1, 20_000, 64, seed=1)
    other, _ = people_images(1, 2_000, 64, seed=2)
    return np.concatenate([one, other]).astype(np.float16)


def test_a_part_of_its_images_gives_the_same_centre_cosines_and_groups(crowd):
    picture = np.arange(len(crowd))
    part, whole = large_centre(crowd, picture, 2_000), robust_centres(crowd, np.zeros(len(crowd), np.int64), picture)
    np.testing.assert_allclose(part.centre, whole.centre, atol=0.02)
    np.testing.assert_allclose(part.cosine, whole.cosine, atol=0.03)
    np.testing.assert_allclose(part.genuine, whole.genuine, atol=0.03)
    assert (part.groups[0].minority == whole.groups[0].minority).all()
    assert part.votes.tolist() == whole.votes.tolist() == [22_000]
    assert np.mean(part.kept == whole.kept) > 0.99


def test_beside_its_images_it_needs_the_memory_of_that_part(crowd):
    def peak(function, *arguments) -> int:
        tracemalloc.start()
        try:
            function(*arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    picture = np.arange(len(crowd))
    whole = peak(robust_centres, crowd, np.zeros(len(crowd), np.int64), picture)
    assert peak(large_centre, crowd, picture, 1_000) < 0.25 * whole


def test_a_label_that_many_people_share_and_no_label_at_all_go_through_the_search(tmp_path, monkeypatch):
    """Half of the rows are under one label, a quarter has none; everything else is judged as ever."""
    monkeypatch.setattr(centre_task, "MOST_VOTES", 200)
    monkeypatch.setattr(large_identity, "MOST_VOTES", 200)
    monkeypatch.setattr(label_noise, "_COMPARED_AT_ONCE", 64)
    monkeypatch.setattr(findings._Stages, "_partitions_of", lambda *_: 5)
    vectors, person = people_images(100, 12)
    labels = ["crowd" if who < 50 else None if who < 75 else f"p{who}" for who in person]
    labels[-1] = "p80"
    table = write_quality(tmp_path / "t", labels, vectors)
    near = NearSettings(exact_up_to=100)
    settings, parts = FindingsSettings(near=near), find_parts([str(table)])
    result = find(Search(parts, len(labels), EmbeddingSource(), settings, str(tmp_path)), run_here)
    verdicts = {row["rid"]: row["label_verdict"] for url in result.labels for row in pq.read_table(url).to_pylist()}
    assert len(verdicts) == 900
    assert verdicts[1199] == "wrong_label"
    assert {verdicts[row] for row in range(900, 1199)} == {"agrees"}
    assert result.counts["judged"] == 900
