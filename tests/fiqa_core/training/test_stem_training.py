"""Training a network with a convolutional stem, with two teachers."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from fiqa_core import QualityScorer
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.networks.onnx_session import OnnxError
from fiqa_core.networks.start_weights import start_from
from fiqa_core.networks.vit_fiqa import ViTConfig
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.settings.fields import SettingError
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training.augment import Augmentation, pool_copy
from fiqa_core.training.data import PoolBatches, network_input
from fiqa_core.training.dataset_index import DatasetIndex, ShardRows
from fiqa_core.training.distill import targets_of
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.kept_pool import kept_of
from fiqa_core.training.losses import rank_loss
from fiqa_core.training.network import TrainingNetwork, new_network, start_quality_at
from fiqa_core.training.pool import PoolSettings, build_pool, open_pool
from fiqa_core.training.sequence import Share
from fiqa_core.training.settings import parse_training
from fiqa_core.training.stem_features import stem_features
from fiqa_core.training.teacher import Teacher, TeacherSettings
from pipelines import train_fiqa
from tests.fiqa_core.networks.test_conv_stem import MOBILEFACENET, needs_mobilefacenet
from tests.makers.containers import face_records, write_webdataset
from tests.makers.onnx_models import write_linear

FROZEN = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    shards = write_webdataset(folder / "faces-%06d.tar", face_records(12), maxcount=8)
    units = plan_dataset([str(path) for path in shards], "auto", 100, str(folder / "plan"), ReadSettings()).units
    first = TeacherSettings(str(write_linear(folder / "first.onnx", [2, 112, 112, 3], dim=5)), 100.0, 50.0)
    second = TeacherSettings(str(write_linear(folder / "second.onnx", ["n", 3, 112, 112], dim=7)), 90.0, 60.0)
    settings = PoolSettings(4, seed=3, jitter=0.05)
    build_pool(folder / "pool", units, ReadSettings(), settings, first, threads=2, second=second)
    return folder / "pool", units, first, second


def network_of():
    torch.manual_seed(3)
    return new_network(ViTConfig(16, 2, 4, 16, stem="mobilefacenet"), masking=True)


def test_a_second_teacher_embeds_the_clean_images_of_a_pool_and_nothing_else(made):
    folder, units, first, second = made
    pool = open_pool(folder)
    clean = pool.pixels(np.flatnonzero(pool.rows["copy"].to_numpy() == 0))
    assert pool.second.shape == (12, 7)
    np.testing.assert_allclose(Teacher(second).embed(clean), pool.second, rtol=1e-4, atol=1e-5)
    rows = {units[0].shard: ShardRows(np.arange(2), np.zeros(2, int), np.ones(2, np.float32))}
    rows[units[1].shard] = ShardRows(np.array([3]), np.ones(1, int), np.ones(1, np.float32))
    kept, _ = kept_of(pool, units, DatasetIndex(("x", "y"), rows))
    assert np.array_equal(kept.second, pool.second[[0, 1, 11]])
    with pytest.raises(TrainingError, match="other second_teacher"):
        build_pool(folder, units, ReadSettings(), PoolSettings(4, seed=3, jitter=0.05), first)


def test_a_second_teacher_changes_the_quality_of_natural_faces_in_proportion_for_their_copies(made):
    pool = open_pool(made[0])
    labels = np.repeat([f"p{min(face, 9) // 2}" for face in range(12)], 4)
    labels[-4:] = "alone"
    pool = replace(pool, rows=pool.rows.set_column(3, "label", pa.array(labels.tolist())))
    one = targets_of(replace(pool, second=None), natural=True, shrink=0.5)
    both = targets_of(pool, natural=True, shrink=0.5)
    change = (both.certainty / one.certainty).reshape(12, 4)
    assert np.abs(change - 1).max() > 1e-3
    np.testing.assert_allclose(change, np.repeat(change[:, :1], 4, 1), rtol=1e-4)


def test_moved_copies_of_a_pool_are_natural_a_quarter_of_them():
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    made = [pool_copy(face, 0.04, np.random.default_rng([copy, 8])) for copy in range(120)]
    share = np.mean([not copy.kinds for copy in made])
    assert 0.15 < share < 0.35
    assert not any(np.array_equal(copy.pixels, face) for copy in made)
    assert all(pool_copy(face, 0, np.random.default_rng(n)).kinds for n in range(20))


def test_features_of_frozen_layers_stand_for_the_pixels_and_are_made_once(made):
    pool, network = open_pool(made[0]), network_of()
    stem: ConvStem = network.patch_embed
    features = stem_features(pool, stem, FROZEN)
    files = sorted(made[0].glob("part-*/stem-*.npy"))
    assert len(files) == 2
    before = [path.stat().st_mtime_ns for path in files]
    stem_features(pool, stem, FROZEN)
    assert [path.stat().st_mtime_ns for path in files] == before

    training = TrainingNetwork(network, mask_ratio=0, drop_path=0, frozen=FROZEN)
    targets = targets_of(pool, natural=True)
    batches = [
        next(PoolBatches(pool, targets, Augmentation(flip=0), Share(0, 6), 0.25, features=given).epoch(0))
        for given in (None, features)
    ]
    assert torch.equal(batches[0].certainty, batches[1].certainty)
    of_pixels, of_features = (training(network_input(batch.images)) for batch in batches)
    for a, b in zip(of_pixels, of_features, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), atol=2e-2 * float(a.detach().abs().max()))


def test_frozen_layers_keep_their_weights_and_the_others_learn():
    network = network_of()
    training = TrainingNetwork(network, mask_ratio=0, drop_path=0, frozen=FROZEN)
    learn = {name for name, parameter in training.named_parameters() if parameter.requires_grad}
    stem = [f"network.patch_embed.stem.{layer}." for layer in range(len(network.patch_embed.stem))]
    assert not any(name.startswith(tuple(stem[:FROZEN])) for name in learn)
    assert all(any(name.startswith(prefix) for name in learn) for prefix in stem[FROZEN:])
    with pytest.raises(ValueError, match="no layers to freeze"):
        TrainingNetwork(new_network(ViTConfig(16, 1, 4, 16), masking=False), frozen=1)


def test_a_new_network_starts_at_the_targets_mean_quality():
    network = network_of().eval()
    start_quality_at(network, 0.5)
    tokens = torch.randn(64, 16)
    assert float(network.train()._score(tokens).detach().mean()) == pytest.approx(0.5, abs=1e-4)


def test_the_rank_loss_is_nothing_where_the_order_is_right_and_sees_natural_faces_only():
    quality, target = torch.tensor([0.1, 0.2, 0.3, 0.9]), torch.tensor([1.0, 2.0, 3.0, -5.0])
    natural = torch.tensor([True, True, True, False])
    assert float(rank_loss(quality, target, natural)) == pytest.approx(0, abs=1e-6)
    assert float(rank_loss(-quality, target, natural)) == pytest.approx(2, abs=1e-6)
    assert float(rank_loss(quality, target, torch.tensor([True, False, False, True]))) == 0


def test_a_teacher_may_be_a_known_network_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("FIQA_NETWORKS", str(tmp_path))
    write_linear(tmp_path / "mobilefacenet.onnx", [2, 112, 112, 3], dim=5)
    uri, options = TeacherSettings("mobilefacenet").source()
    assert (uri, options.std, options.layout) == (str(tmp_path / "mobilefacenet.onnx"), (128.0,), "nhwc")
    with pytest.raises(OnnxError, match="sface-norm gives no embedding"):
        TeacherSettings("sface-norm").source()


@pytest.mark.parametrize(
    ("network", "more", "message"),
    [
        ("frozen: 3", "", "only a convolutional stem"),
        ("stem: mobilefacenet, patch: 16, frozen: 3", "", "random weights would be kept"),
        ("stem: mobilefacenet, patch: 9", "", "patches of 8 or 16"),
        ("mode: token", "second_teacher: {model: sface}", "there is no first one"),
    ],
)
def test_settings_of_a_stem_that_contradict_each_other_are_refused(network, more, message):
    text = f"data: {{input: a.tar}}\nrun: {{output: b}}\nnetwork: {{width: 16, depth: 1, {network}}}\n{more}\n"
    with pytest.raises(SettingError, match=message):
        parse_training(text.encode(), "x.yaml")


@needs_mobilefacenet
def test_the_command_trains_on_features_of_frozen_layers_and_the_result_is_scored(made, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(
        f"data: {{input: '{made[0].parent}/faces-*.tar'}}\n"
        f"run: {{output: '{tmp_path}/run', score_only: float16, device: cpu}}\n"
        f"network: {{stem: mobilefacenet, start: '{MOBILEFACENET}', frozen: 14, patch: 16,"
        " width: 16, depth: 1, heads: 4}\n"
        "loss: {rank: 1}\naugment: {flip: 0}\n"
        "optimiser: {batch: 8, epochs: 1, warmup_epochs: 0, stem_lr: 0.1, ema: 0.9}\n"
        f"teacher: {{model: '{made[2].model}', copies: 2, jitter: 0.05, shrink: 0.5}}\n"
        f"second_teacher: {{model: '{made[3].model}'}}\n"
    )
    assert train_fiqa.run(["--config", str(config)]) == 0
    assert len(list((tmp_path / "run" / "pool").glob("part-*/stem-*.npy"))) == 2
    trained = load_checkpoint(str(tmp_path / "run" / "model.safetensors"), embeddings=False).network
    stem = ConvStem(16, 16)
    start_from(stem, str(MOBILEFACENET))
    now, then = trained.patch_embed.stem.state_dict(), stem.stem.state_dict()
    same = {name for name in then if torch.equal(now[name], then[name].half().float())}
    frozen = {name for name in then if int(name.split(".")[0]) < 14}
    assert frozen <= same
    assert "16.narrow.weight" not in same
    quality = QualityScorer.from_checkpoint(str(tmp_path / "run" / "model.safetensors"), device="cpu")
    assert np.isfinite(quality.score_pixels(np.zeros((2, 112, 112, 3), np.uint8)).quality).all()
