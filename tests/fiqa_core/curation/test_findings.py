"""The whole search on made tables: found, counted, resumed, and the same however it is cut."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.findings import partition_embeddings as gather
from fiqa_core.curation.findings import search as findings
from fiqa_core.curation.findings.search import Search, find
from fiqa_core.curation.findings.settings import FindingsSettings, LabelNoiseSettings, NearSettings
from fiqa_core.curation.findings.tasks import run_here, run_task
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import find_parts
from schemas import findings as columns
from schemas import identities
from tests.makers.embedded import people_images, unit, write_quality

PEOPLE, IMAGES = 60, 10


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 people with 10 images; rows 0..19 have a wrong label; 30 near copies at the end; a single and a merged one."""
    vectors, person = people_images(PEOPLE, IMAGES)
    labels = [f"p{who}" for who in person]
    for row in range(20):
        labels[row * 7] = f"p{(person[row * 7] + 5) % PEOPLE}"
    random = np.random.default_rng(3)
    copies = unit(vectors[3:600:20] + random.standard_normal((30, 64), np.float32) * np.float32(0.02))
    again = unit(vectors[590:594] + random.standard_normal((4, 64), np.float32) * np.float32(0.06))
    labels += [labels[row] for row in range(3, 600, 20)] + ["other name of p59"] * 4 + [None]
    every = np.concatenate([vectors, copies, again, vectors[5:6]])
    phash = np.arange(len(every), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    phash[600:630] = phash[3:600:20] ^ np.uint64(1)
    return write_quality(tmp_path_factory.mktemp("t") / "t", labels, every, 100, phash=phash)


def search(table: Path, output: Path, **changes) -> Search:
    parts = find_parts([str(table)])
    own = sum(part.rows for part in parts)
    return replace(Search(parts, own, EmbeddingSource(), FindingsSettings(), str(output)), **changes)


def files(output: Path) -> dict[str, bytes]:
    """Name and bytes of everything that is left."""
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def found(table, tmp_path_factory):
    output = tmp_path_factory.mktemp("found")
    return output, find(search(table, output), run_here)


def labels_of(result) -> pa.Table:
    return pa.concat_tables([pq.read_table(url) for url in result.labels]).sort_by("rid")


def pairs_of(result) -> set[tuple[int, int]]:
    return {(pair["a"], pair["b"]) for url in result.pairs for pair in pq.read_table(url).to_pylist()}


def test_wrong_labels_are_found_and_nothing_else(found):
    table = labels_of(found[1])
    assert table.schema.names == columns.LABELS.names
    wrong = {row["rid"]: row for row in table.to_pylist() if row["label_verdict"] == "wrong_label"}
    # Row 603 is the near copy of row 63, with its wrong label.
    assert set(wrong) == {row * 7 for row in range(20)} | {603}
    assert wrong[0]["nearest_label"] == "p0"
    assert wrong[0]["nearest_cosine"] > 0.6 > wrong[0]["centre_cosine"]
    assert table.num_rows == 634


def test_near_copies_are_paired_in_rising_order(found):
    pairs = [pair for url in found[1].pairs for pair in pq.read_table(url).to_pylist()]
    assert {(3 + 20 * copy, 600 + copy) for copy in range(30)} <= {(pair["a"], pair["b"]) for pair in pairs}
    assert all(pair["a"] < pair["b"] and 0.95 <= pair["similarity"] <= 1 for pair in pairs)
    assert {pair["kind"] for pair in pairs} == {"cosine"}


def test_identities_and_who_may_be_one_person(found):
    table = pq.read_table(found[1].identities)
    assert table.schema.names == list(identities.COLUMNS)
    rows = {row["label"]: row for row in table.to_pylist()}
    assert len(rows) == 61
    assert rows["other name of p59"]["merge_with"] == "p59"
    assert rows["p59"]["merge_with"] == "other name of p59"
    assert sum(row["merge_with"] is not None for row in rows.values()) == 2
    assert sum(row["outliers"] for row in rows.values()) == 21
    assert sum(row["images"] for row in rows.values()) == 634


def test_a_search_that_is_done_is_not_done_again(found, table):
    def refuse(stage, tasks):
        raise AssertionError(stage)

    assert find(search(table, found[0]), refuse) == found[1]


def test_broken_off_after_any_task_it_goes_on_with_what_is_there(found, table, tmp_path):
    done: list[str] = []

    class KilledError(Exception):
        pass

    def one_more(stage, tasks):
        for task in tasks:
            before = len(list(Path(task.work, "done").glob("*.json"))) if Path(task.work, "done").exists() else 0
            run_task(task)
            if len(list(Path(task.work, "done").glob("*.json"))) > before:
                done.append(task.name)
                raise KilledError
        return run_here(stage, tasks)

    for _ in range(20):
        try:
            find(search(table, tmp_path), one_more)
            break
        except KilledError:
            continue
    assert len(done) == len(set(done)) >= 6
    assert files(tmp_path) == files(found[0])


def test_small_partitions_whose_tasks_travel_and_run_in_any_order_give_the_same_findings(
    found, table, tmp_path, monkeypatch
):
    monkeypatch.setattr(gather, "ROWS_A_TASK", 150)
    monkeypatch.setattr(findings._Stages, "_partitions_of", lambda *_: 7)

    def elsewhere(stage, tasks):
        return run_here(stage, [pickle.loads(pickle.dumps(task)) for task in reversed(tasks)])  # noqa: S301

    result = find(search(table, tmp_path, threads=2), elsewhere)
    assert len(result.labels) == 7
    pairs = [
        {(p["a"], p["b"]) for url in some.pairs for p in pq.read_table(url).to_pylist()} for some in (result, found[1])
    ]
    assert pairs[0] == pairs[1]
    # Blocks of other shapes are added up in another order: the last bits of a cosine may differ, nothing else.
    for ours, theirs in (
        (labels_of(result), labels_of(found[1])),
        (pq.read_table(result.identities), pq.read_table(found[1].identities)),
    ):
        for name in ours.column_names:
            if pa.types.is_floating(ours[name].type):
                np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=1e-5)
            else:
                assert ours[name].to_pylist() == theirs[name].to_pylist()


def test_cells_and_groups_find_each_pair_once(found, table, tmp_path, monkeypatch):
    monkeypatch.setattr(findings._Stages, "_partitions_of", lambda *_: 3)
    near = NearSettings(exact_up_to=100)
    result = find(search(table, tmp_path, settings=FindingsSettings(None, near)), run_here)
    assert result.counts["cells"] > 1
    assert (result.labels, result.identities, result.thresholds) == ((), "", None)
    pairs = [(p["a"], p["b"]) for url in result.pairs for p in pq.read_table(url).to_pylist()]
    true = [(p["a"], p["b"]) for url in found[1].pairs for p in pq.read_table(url).to_pylist()]
    assert sorted(pairs) == sorted(set(true))


@pytest.mark.parametrize(("by", "kinds"), [("phash", {"phash"}), ("either", {"cosine", "phash"})])
def test_perceptual_hashes_alone_and_together_with_the_cosine(table, tmp_path, by, kinds):
    result = find(search(table, tmp_path, settings=FindingsSettings(None, NearSettings(by=by))), run_here)
    pairs = [pair for url in result.pairs for pair in pq.read_table(url).to_pylist()]
    assert {pair["kind"] for pair in pairs} == kinds
    found = {(pair["a"], pair["b"]) for pair in pairs if pair["kind"] == "phash"}
    assert {(3 + 20 * copy, 600 + copy) for copy in range(30)} <= found


def test_rows_of_another_dataset_are_compared_and_not_judged(table, tmp_path):
    vectors, _ = people_images(PEOPLE, IMAGES)
    random = np.random.default_rng(5)
    leaked = unit(vectors[50:53] + random.standard_normal((3, 64), np.float32) * np.float32(0.02))
    other = write_quality(
        tmp_path / "other", ["x"] * 6, np.concatenate([leaked, leaked]), 9, [bytes([9, n] * 16) for n in range(6)]
    )
    parts = find_parts([str(table), str(other)])
    own = sum(part.rows for part in parts) - 6
    result = find(Search(parts, own, EmbeddingSource(), FindingsSettings(), str(tmp_path / "o")), run_here)
    pairs = [(p["a"], p["b"]) for url in result.pairs for p in pq.read_table(url).to_pylist()]
    across = {(a, b - own) for a, b in pairs if b >= own}
    assert {(50, 0), (50, 3), (51, 1), (52, 2)} <= across
    assert all(a < own for a, _ in pairs)
    assert labels_of(result)["rid"].to_numpy().max() < own


def test_embeddings_that_cannot_be_used_are_counted_and_their_rows_not_judged(tmp_path):
    vectors, person = people_images(20, 5)
    vectors[3], vectors[7] = np.nan, 0
    table = write_quality(tmp_path / "t", [f"p{who}" for who in person], vectors)
    result = find(search(table, tmp_path / "o"), run_here)
    assert (result.counts["not_finite"], result.counts["zero"], result.counts["judged"]) == (1, 1, 98)
    assert not {3, 7} & set(labels_of(result)["rid"].to_pylist())


def test_two_people_under_one_label_are_reported_with_their_rows(tmp_path):
    vectors, person = people_images(30, 8)
    labels = [f"p{who}" for who in person]
    labels[8:12] = ["p0"] * 4
    labels[12:16] = [None] * 4
    result = find(search(write_quality(tmp_path / "t", labels, vectors), tmp_path / "o"), run_here)
    split = [row for row in pq.read_table(result.identities).to_pylist() if row["is_split"]]
    assert [(row["label"], row["split_sizes"], row["split_minority"]) for row in split] == [
        ("p0", [8, 4], [8, 9, 10, 11])
    ]


def test_other_settings_in_the_same_output_leave_nothing_of_the_earlier_search(table, tmp_path):
    first = find(search(table, tmp_path), run_here)
    second = find(search(table, tmp_path, settings=FindingsSettings(LabelNoiseSettings(cosine=0.5), None)), run_here)
    assert not any(Path(url).exists() for url in (*first.labels, *first.pairs))
    names = {path.name for path in (tmp_path / "findings").iterdir()}
    assert names == {Path(url).name for url in (*second.labels, second.identities)} | {"findings.json"}
