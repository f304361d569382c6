"""A teacher's pool and the targets that come of it, against loops over single vectors."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from fiqa_core.shards.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.data import PoolBatches, Share
from fiqa_core.training.distill import targets_of
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.pool import Pool, PoolSettings, build_pool, open_pool
from fiqa_core.training.teacher import Teacher, TeacherSettings
from tests.makers.containers import face_records, write_webdataset
from tests.makers.onnx_models import write_linear


def pool_of(images, copies=3, dim=8, seed=0):
    """A pool of made-up embeddings: `images` are labels, an image each; copies stray ever further."""
    random = np.random.default_rng(seed)
    people = {label: random.normal(size=dim) for label in images}
    vectors, rows = [], []
    for label in images:
        clean = people[label] + random.normal(scale=0.4, size=dim)
        for copy in range(copies):
            vectors.append((clean + copy * random.normal(scale=0.5, size=dim)) * random.uniform(2, 9))
            rows.append({"label": label, "copy": copy})
    return Pool((), np.zeros(0, np.int64), pa.Table.from_pylist(rows), np.array(vectors, np.float32))


IMAGES = ["a", "b", "a", "c", "d", "a", "c", "e"]


def test_certainty_is_ccs_without_the_image_itself_over_the_nearest_foreign_centre():
    pool = pool_of(IMAGES)
    found = targets_of(pool, natural=False)
    labels, copies = pool.rows["label"].to_pylist(), pool.rows["copy"].to_pylist()
    unit = [v / np.linalg.norm(v) for v in pool.embeddings.astype(np.float64)]
    for row, label in enumerate(labels):
        image = row - copies[row]
        clean = [r for r, copy in enumerate(copies) if copy == 0]
        own = [unit[r] for r in clean if labels[r] == label and r != image] or [unit[image]]
        centre = np.mean(own, axis=0)
        ccs = unit[row] @ centre / np.linalg.norm(centre)
        foreign = []
        for other in set(labels) - {label}:
            centre = np.mean([unit[r] for r in clean if labels[r] == other], axis=0)
            foreign.append(unit[row] @ centre / np.linalg.norm(centre))
        assert found.certainty[row] == pytest.approx(ccs / (max(foreign) + 1 + 1e-9), abs=1e-5)
    assert found.class_count == 5
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)


def test_a_face_without_another_image_of_its_identity_is_not_taken_to_be_perfect():
    many = [f"p{n}" for n in range(30) for _ in range(3)] + [f"s{n}" for n in range(20)]
    pool = pool_of(many, dim=32)
    plain, natural = targets_of(pool, natural=False), targets_of(pool, natural=True)
    alone = np.array([label[0] == "s" for label in pool.rows["label"].to_pylist()])
    assert np.array_equal(plain.certainty[~alone], natural.certainty[~alone])
    clean_alone, clean_others = alone & plain.clean, ~alone & plain.clean
    assert plain.certainty[clean_alone].mean() > plain.certainty[clean_others].mean() + 0.05
    assert natural.certainty[clean_alone].mean() == pytest.approx(natural.certainty[clean_others].mean(), abs=0.05)
    with pytest.raises(TrainingError, match="at least two"):
        targets_of(pool_of(["x", "x"]), natural=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    shards = write_webdataset(folder / "faces-%06d.tar", face_records(12), maxcount=8)
    units = plan_dataset([str(path) for path in shards], "auto", 100, str(folder / "plan"), ReadSettings()).units
    teacher = TeacherSettings(str(write_linear(folder / "teacher.onnx", [2, 112, 112, 3], dim=5)), 100.0, 50.0)
    build_pool(folder / "pool", units, ReadSettings(), PoolSettings(4, seed=3), teacher, threads=2)
    return folder / "pool", units, teacher


def test_a_pool_holds_each_face_and_its_copies_with_the_teachers_embeddings(made):
    folder, _, settings = made
    pool = open_pool(folder)
    assert pool.rows["copy"].to_pylist() == [0, 1, 2, 3] * 12
    assert [bool(kinds) for kinds in pool.rows["kinds"].to_pylist()[:4]] == [False, True, True, True]
    places = np.array([40, 3, 17])  # of both parts, in any order
    pixels = pool.pixels(places)
    np.testing.assert_allclose(Teacher(settings).embed(pixels), pool.embeddings[places], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(pixels[1], pool.pixels(np.array([0]))[0])


def test_a_pool_that_was_broken_off_is_finished_as_it_would_have_been(made):
    folder, units, teacher = made
    before = open_pool(folder)
    shutil.rmtree(folder / "part-000001")
    (folder / "_tmp-part-000001").mkdir()
    progress = []
    build_pool(
        folder, units, ReadSettings(), PoolSettings(4, seed=3), teacher, progress=lambda *at: progress.append(at)
    )
    after = open_pool(folder)
    assert progress == [(1, 2), (2, 2)]
    everything = np.arange(48)
    assert np.array_equal(before.pixels(everything), after.pixels(everything))
    assert np.array_equal(before.embeddings, after.embeddings)
    with pytest.raises(TrainingError, match="other seed"):
        build_pool(folder, units, ReadSettings(), PoolSettings(4, seed=4), teacher)


def test_an_epoch_of_a_pool_has_each_degraded_copy_once_and_clean_faces_at_their_share(made):
    pool = open_pool(made[0])
    targets = targets_of(pool, natural=True)
    batches = PoolBatches(pool, targets, Augmentation(flip=0), Share(0, 6), clean_share=0.5)
    assert batches.steps_per_epoch == 12  # 36 degraded copies, and as many clean faces
    seen = np.concatenate([batch.certainty.numpy() for batch in batches.epoch(0)])
    assert sorted(seen) == sorted([*targets.certainty[~targets.clean], *np.repeat(targets.certainty[targets.clean], 3)])
    rest = np.concatenate([batch.certainty.numpy() for batch in batches.epoch(0, skip=5)])
    assert np.array_equal(rest, seen[30:])
    assert not np.array_equal(seen, np.concatenate([batch.certainty.numpy() for batch in batches.epoch(1)]))
