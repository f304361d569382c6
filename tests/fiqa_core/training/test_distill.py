"""A teacher's pool and the targets that come of it, against loops over single vectors."""

import resource
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.data import PoolBatches
from fiqa_core.training.dataset_index import DatasetIndex, ShardRows
from fiqa_core.training.distill import targets_of
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.kept_pool import kept_of
from fiqa_core.training.pool import Pool, PoolSettings, build_pool, open_pool
from fiqa_core.training.sequence import Share
from fiqa_core.training.teacher import Teacher, TeacherSettings
from tests.makers.containers import FaceRecord, face_records, write_webdataset
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
            rows.append({"label": label, "copy": copy, "kinds": ["blur"] * copy})
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


def test_a_pool_of_other_label_fields_or_with_half_a_settings_file_is_refused(made, tmp_path):
    folder, units, teacher = made
    with pytest.raises(TrainingError, match="other label_field"):
        build_pool(folder, units, ReadSettings("person"), PoolSettings(4, seed=3), teacher)
    (tmp_path / "pool.json").write_text('{"copies": ')
    with pytest.raises(TrainingError, match=r"pool\.json: not a pool's settings"):
        build_pool(tmp_path, units, ReadSettings(), PoolSettings(4, seed=3), teacher)


def test_a_full_disk_breaks_a_pool_off_with_its_name_and_leaves_no_half_part(made, tmp_path):
    _, units, teacher = made
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # a part of 32 images has 1.2 MB
    try:
        with pytest.raises(TrainingError, match=r"part-000000: broke off \(File too large\).*start again"):
            build_pool(tmp_path, units, ReadSettings(), PoolSettings(4, seed=3), teacher)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "_tmp"] == []


def test_a_shard_without_a_usable_image_is_an_empty_part_of_a_pool(made, tmp_path):
    shards = write_webdataset(tmp_path / "bad-%06d.tar", [FaceRecord("broken", 0, b"no image")])
    shards += write_webdataset(tmp_path / "good-%06d.tar", face_records(3))
    units = plan_dataset([str(path) for path in shards], "auto", 100, str(tmp_path / "plan"), ReadSettings()).units
    build_pool(tmp_path / "pool", units, ReadSettings(), PoolSettings(2, seed=3), made[2])
    pool = open_pool(tmp_path / "pool")
    assert pool.numbers == (1,)
    assert pool.pixels(np.arange(6)).any()


def test_decisions_choose_weigh_and_label_the_images_of_a_pool_and_leave_it_as_it_is(made):
    folder, units, _ = made
    pool = open_pool(folder)
    # Of 8 and 4 images, in two shards: all but the first and one of the second.
    rows = {
        units[0].shard: ShardRows(np.arange(1, 8), np.arange(1, 8) % 2, np.full(7, 0.5, np.float32)),
        units[1].shard: ShardRows(np.array([2]), np.array([1]), np.array([0.25], np.float32)),
    }
    kept, weights = kept_of(pool, units, DatasetIndex(("x", "y"), rows))
    assert kept.chosen.tolist() == [*range(4, 32), *range(40, 44)]
    assert weights.tolist() == [0.5] * 28 + [0.25] * 4
    assert kept.rows["label"].to_pylist() == [label for n in (1, 0, 1, 0, 1, 0, 1, 1) for label in "xy"[n] * 4]
    assert np.array_equal(kept.pixels(np.array([0, 30])), pool.pixels(np.array([4, 42])))
    assert np.array_equal(kept.embeddings, pool.embeddings[kept.chosen])

    targets = targets_of(kept, natural=False)  # centres of the kept images alone
    batches = PoolBatches(kept, targets, Augmentation(flip=0), Share(0, 8), 0.25, weights)
    seen = list(batches.epoch(0))
    assert len(seen) == 4
    light = torch.cat([batch.weights for batch in seen]) == 0.25
    assert sorted(torch.cat([batch.certainty for batch in seen])[light]) == sorted(targets.certainty[28:])
    with pytest.raises(TrainingError, match="keeps none of the images"):
        kept_of(pool, units, DatasetIndex(("x", "y"), {}))


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
