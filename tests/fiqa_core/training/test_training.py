"""Training as a user sees it: settings in, a checkpoint out that score_dataset loads; exact, resumable, honest."""

import json
import resource
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.vit_fiqa import ViTConfig
from fiqa_core.runs.folder import OutputError
from fiqa_core.runs.lock import hold_output
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.training import checkpoint, sequence
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.data import ShardBatches
from fiqa_core.training.dataset_index import DatasetIndex, index_of_decisions, index_of_records
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.loop import Trainer
from fiqa_core.training.metrics import Metrics
from fiqa_core.training.network import TrainingNetwork, new_network
from fiqa_core.training.schedule import rate_factor
from fiqa_core.training.sequence import Share
from fiqa_core.training.settings import parse_training
from pipelines import train_fiqa
from pipelines.jobs import train_job
from schemas import decisions
from tests.makers.containers import FaceRecord, face_records, write_webdataset
from tests.makers.onnx_models import write_linear

CONFIG = {
    "data": {"input": "?", "shuffle": 8},
    "run": {"output": "?", "log_steps": 1, "threads": 1, "device": "cpu"},
    "network": {"width": 16, "depth": 2, "patch": 28},
    "optimiser": {"batch": 6, "epochs": 2, "warmup_epochs": 1, "ema": 0.5},
    "augment": {"jitter": 0.1, "degrade": 0.5},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return write_webdataset(folder / "faces-%06d.tar", face_records(24, identities=5), maxcount=12)


@pytest.fixture
def settings(shards, tmp_path):
    return settings_for(shards, tmp_path / "run")


def settings_for(shards, output, *overrides):
    inputs = f"data.input={json.dumps([str(path) for path in shards])}"
    return parse_training(json.dumps(CONFIG).encode(), "config.json", [inputs, f"run.output={output}", *overrides])


def trainer_of(settings):
    return Trainer(settings, train_job._batches(settings), torch.device("cpu"))


def weights_of(trainer):
    return {**trainer.student.state_dict(), **{f"softmax.{k}": v for k, v in trainer.softmax.state_dict().items()}}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_gives_the_same_step_and_another_seed_another(shards, tmp_path):
    def after_one_step(name, seed):
        trainer = trainer_of(settings_for(shards, tmp_path / name, f"run.seed={seed}"))
        before = {key: value.clone() for key, value in weights_of(trainer).items()}
        trainer.train_step(next(iter(trainer.batches.epoch(0))))
        assert not equal(before, weights_of(trainer))
        return weights_of(trainer)

    first = after_one_step("a", 4)
    assert equal(first, after_one_step("b", 4))
    assert not equal(first, after_one_step("c", 5))


def test_a_resumed_run_ends_as_the_undisturbed_one(shards, tmp_path):
    whole = trainer_of(settings_for(shards, tmp_path / "whole"))
    assert whole.run(lambda _: None)
    assert whole.steps == 8

    broken = trainer_of(settings_for(shards, tmp_path / "broken"))
    for batch in broken.batches.epoch(0):  # 4 steps are an epoch; it stops inside the second
        broken.train_step(batch)
    broken.train_step(next(broken.batches.epoch(1)))
    folder = broken.save()

    torch.manual_seed(999)
    again = trainer_of(settings_for(shards, tmp_path / "broken"))
    again.resume(folder)
    assert again.step == 5
    assert again.run(lambda _: None)
    assert equal(weights_of(whole), weights_of(again))
    assert equal(whole.result.state_dict(), again.result.state_dict())
    lines = [json.loads(line)["step"] for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [6, 7, 8]


def test_shards_in_the_memory_of_this_process_are_read_by_it_alone(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(train_job, "default_workers", lambda *_: 3)  # as on a machine with a GPU
    memory = ["memory://shards/faces.tar"]
    assert train_job._share(settings_for(shards, tmp_path / "run")).workers == 3
    assert train_job._share(settings_for(memory, tmp_path / "run")).workers == 0
    assert train_job._share(settings_for(memory, tmp_path / "run", "data.workers=0")).workers == 0
    with pytest.raises(TrainingError, match=r"memory://shards/faces\.tar: .*--workers 0"):
        train_job._share(settings_for(memory, tmp_path / "run", "data.workers=2"))


def test_a_checkpoint_of_other_settings_or_processes_is_refused_with_the_difference(settings, tmp_path, shards):
    trainer = trainer_of(settings)
    folder = trainer.save()
    other = trainer_of(settings_for(shards, tmp_path / "run", "optimiser.lr=0.5"))
    with pytest.raises(OutputError, match=r"optimiser\.lr: 0\.001 then, 0\.5 now"):
        other.resume(folder)
    shared = torch.load(folder / "shared.pt", weights_only=True)
    torch.save(shared | {"processes": 3}, folder / "shared.pt")
    with pytest.raises(TrainingError, match="written by 3 processes, this run has 1"):
        trainer.resume(folder)


def test_only_the_last_checkpoints_are_kept_and_an_unfinished_one_is_not_seen(settings):
    trainer = trainer_of(settings)
    for trainer.step in (1, 2, 3):
        trainer.save()
    (trainer.output / "checkpoints" / "_tmp-step-00000009").mkdir()
    assert [folder.name for folder in checkpoint.found(trainer.output)] == ["step-00000002", "step-00000003"]


def test_a_checkpoint_that_cannot_be_written_or_read_is_named_and_earlier_ones_stay(settings):
    trainer = trainer_of(settings)
    first = trainer.save()
    trainer.step = 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"shared\.pt: this checkpoint cannot be written.*--resume"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [folder.name for folder in first.parent.iterdir()] == [first.name]
    (first / "shared.pt").write_bytes((first / "shared.pt").read_bytes()[:3000])
    with pytest.raises(TrainingError, match=r"shared\.pt: not a readable checkpoint .*remove its folder"):
        trainer.resume(first)
    torch.save({"weights": torch.zeros(1)}, first / "shared.pt")
    with pytest.raises(TrainingError, match="not a checkpoint of training: it has no processes, settings, step"):
        trainer.resume(first)


def test_half_a_line_of_a_killed_runs_metrics_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 5}\n{"step": 2, "to')
    Metrics(tmp_path, 3)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_another_command_on_the_same_output_is_refused(shards, tmp_path, caplog):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    with hold_output(str(tmp_path / "run")):
        flags = ["--config", str(config), "--input", *map(str, shards), "--output", str(tmp_path / "run")]
        assert train_fiqa.run(flags) == 2
    assert "is at work on this output" in caplog.text


@pytest.mark.parametrize(("mode", "heads"), [("token", 8), ("full", 8), ("crfiqa", 4)])
def test_the_model_of_a_run_loads_for_scoring_in_every_mode(shards, tmp_path, mode, heads, capsys):
    config = tmp_path / "config.json"  # JSON is YAML
    config.write_text(json.dumps(CONFIG))
    small = ["--set", f"network.mode={mode}", "--set", f"network.heads={heads}", "--set", "optimiser.epochs=0.5"]
    flags = ["--config", str(config), "--input", *map(str, shards), "--output", str(tmp_path / "run"), *small]
    assert train_fiqa.run(flags) == 0
    assert "score_dataset --model" in capsys.readouterr().out
    loaded = load_checkpoint(str(tmp_path / "run" / "model.pt"))
    assert loaded.mode == mode
    assert loaded.network.config == ViTConfig(16, 2, heads, 28, mode=mode)
    assert train_fiqa.run(flags) == 2  # the output is in use
    assert train_fiqa.run([*flags, "--resume"]) == 0


def test_a_teacher_gives_embeddings_and_certainty_and_the_small_file_scores_alike(shards, tmp_path, caplog):
    teacher = write_linear(tmp_path / "teacher.onnx", ["n", 3, 112, 112], dim=10)
    config = tmp_path / "config.json"
    extra = {"teacher": {"model": str(teacher), "copies": 3}, "run": {**CONFIG["run"], "score_only": "float32"}}
    config.write_text(json.dumps(CONFIG | extra))
    flags = ["--config", str(config), "--input", *map(str, shards), "--output", str(tmp_path / "run")]
    assert train_fiqa.run(flags) == 0
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert logged[0]["distillation"] > 0
    assert "recognition" not in logged[0]
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    small = load_checkpoint(str(tmp_path / "run" / "model.safetensors"), embeddings=False)
    whole = load_checkpoint(str(tmp_path / "run" / "model.pt"))
    x = torch.rand(3, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(small.network.quality(x), whole.network.quality(x))
    assert small.network.feature is None
    # Another number of copies is another pool: never mixed.
    again = [*flags[:-1], str(tmp_path / "other"), "--set", f"teacher.pool={tmp_path / 'run' / 'pool'}"]
    assert train_fiqa.run([*again, "--set", "teacher.copies=2"]) == 2
    assert "holds a pool made with other copies" in caplog.text


def test_without_tensorboard_numbers_are_logged_and_the_extra_is_named(settings, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trainer = trainer_of(settings)
    metrics = Metrics(trainer.output, 0)
    assert "pip install -e '.[train]'" in caplog.text
    losses = trainer.train_step(next(trainer.batches.epoch(0)))
    line = metrics.add(trainer._done(), losses, steps_a_second=0.5, batch=6)
    assert "step 1 of 8" in line
    assert "14 s left" in line
    assert json.loads((trainer.output / "metrics.jsonl").read_text())["step"] == 1


def test_masked_tokens_never_reach_the_embedding_head_and_inference_is_the_plain_network():
    torch.manual_seed(0)
    network = new_network(ViTConfig(16, 2, patch=28), masking=True)
    training = TrainingNetwork(network, mask_ratio=0.25, drop_path=0.5)
    seen = []
    network.feature.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    training.train()(torch.rand(4, 3, 112, 112))
    tokens = seen[0].view(4, 16, 16)
    masked = (tokens == network.mask_token).all(-1)
    assert masked.sum(1).tolist() == [4, 4, 4, 4]
    assert len({tuple(row) for row in masked.tolist()}) > 1  # drawn anew for each image
    x = torch.rand(4, 3, 112, 112)
    embedding, quality = training.eval()(x)
    torch.testing.assert_close(embedding, network(x)[0])
    torch.testing.assert_close(quality, network.quality(x))


def test_every_kept_image_comes_once_an_epoch_whatever_the_threads_and_processes_share_them(shards, tmp_path):
    read = ReadSettings()
    units = plan_dataset([str(path) for path in shards], "auto", 1000, str(tmp_path), read).units
    index = index_of_records(units, read)

    def epoch(number, process=0, processes=1, threads=1):
        share = Share(0, 24 // processes // 2, process, processes, threads)
        batches = ShardBatches(units, index, read, Augmentation(flip=0), share, shuffle=1000 if processes == 1 else 1)
        return torch.cat([batch.images.flatten(1) for batch in batches.epoch(number)])

    first = epoch(0)
    assert len(torch.unique(first, dim=0)) == 24
    assert torch.equal(first, epoch(0, threads=3))
    assert not torch.equal(first, epoch(1))
    together = torch.cat([epoch(0, process, 2) for process in (0, 1)])
    assert len(torch.unique(together, dim=0)) == 24


def test_the_decisions_table_decides_what_is_trained_on_and_its_weights_scale_the_loss(shards, tmp_path):
    read = ReadSettings()
    units = plan_dataset([str(path) for path in shards], "auto", 1000, str(tmp_path / "plan"), read).units
    rows = [
        {"shard": unit.shard, "index": place, "label": str(place % 3), "keep": place != 5, "weight": place / 20}
        for unit in units
        for place in range(12)
    ]
    table = pa.Table.from_pylist(
        [dict.fromkeys(decisions.SCHEMA.names) | {"status": "scored"} | row for row in rows], decisions.SCHEMA
    )
    (tmp_path / "filtered" / "decisions").mkdir(parents=True)
    pq.write_table(table, tmp_path / "filtered" / "decisions" / "part-000000.parquet")
    index = index_of_decisions(units, str(tmp_path / "filtered"))
    assert index.kept == 22
    assert index.labels == ("0", "1", "2")
    batches = ShardBatches(units, index, read, Augmentation(), Share(0, 22), shuffle=50)
    (batch,) = batches.epoch(0)
    places = np.round(batch.weights.numpy() * 20).astype(int)
    assert sorted(places) == sorted([*range(5), *range(6, 12)] * 2)
    assert batch.classes.tolist() == [place % 3 for place in places]
    assert index.of_shard(units[0].shard).find(5) is None
    assert index.of_shard(units[0].shard).find(7) == (1, pytest.approx(0.35))
    assert index.of_shard("another").find(0) is None
    with pytest.raises(TrainingError, match="which is not an input"):
        index_of_decisions(units[:1], str(tmp_path / "filtered"))


def test_a_unit_of_which_nothing_is_kept_is_no_processs_share_and_undecodable_images_are_counted(tmp_path, caplog):
    faces = face_records(9)
    parts = [faces[:4], faces[4:5], [*faces[5:], FaceRecord("broken", 0, b"no image")]]
    shards = [path for n, part in enumerate(parts) for path in write_webdataset(tmp_path / f"{n}-%06d.tar", part)]
    read = ReadSettings()
    units = plan_dataset([str(path) for path in shards], "auto", 1000, str(tmp_path / "plan"), read).units
    index = index_of_records(units, read)
    without = DatasetIndex(index.labels, {u.shard: index.by_shard[u.shard] for u in (units[0], units[2])})
    assert [without.keeps_of(unit) for unit in units] == [True, False, True]
    for process in (0, 1):
        batches = ShardBatches(units, without, read, Augmentation(), Share(0, 2, process, 2), shuffle=4)
        for epoch in range(3):
            assert len(list(batches.epoch(epoch))) == 2
    alone = ShardBatches(units, without, read, Augmentation(), Share(0, 9), shuffle=4)
    (batch,) = alone.epoch(0)
    assert batch.weights.tolist() == [1] * 8 + [0]
    assert "epoch 0: 1 image could not be decoded, passed over" in caplog.text


def test_the_window_of_large_images_holds_fewer_and_still_gives_each_once(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(sequence, "_WINDOW_BYTES", 20_000)
    read = ReadSettings()
    units = plan_dataset([str(path) for path in shards], "auto", 1000, str(tmp_path), read).units
    batches = ShardBatches(units, index_of_records(units, read), read, Augmentation(flip=0), Share(0, 24), shuffle=99)
    (batch,) = batches.epoch(0)
    assert len(torch.unique(batch.images.flatten(1), dim=0)) == 24


def test_the_rate_rises_linearly_then_falls_to_nothing():
    factors = [rate_factor(step, 4, 12) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[8] == 0.5
    assert factors[12] == 0.0
    assert rate_factor(8, 4, 12, power=2) == 0.25


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimiser.lrr=1", r"optimiser has no key 'lrr'. Did you mean 'lr'\?"),
        ("optimiser.batch=many", "optimiser.batch is 'many'; expected a whole number of at least 2"),
        ("network.width=null", "give either arch"),
        ("network.mode=tokens", "network.mode is 'tokens'; expected one of token, full, crfiqa"),
        ("optimiser.precision=fp8", "optimiser.precision is 'fp8'; expected one of fp32, bf16, fp16"),
        ("optimiser.batch=0", "optimiser.batch is 0; expected a whole number of at least 2"),
        ("optimiser.lr=.nan", "optimiser.lr is nan; expected a number of more than 0"),
        ("network.heads=0", "network.heads is 0; expected a whole number of at least 1"),
        ("run.log_steps=0", "run.log_steps is 0"),
        ("run.score_only=float64", "run.score_only is 'float64'; expected one of float32, float16"),
        ("teacher={model: x.onnx, loss: l1}", "teacher.loss is 'l1'; expected one of cosine, mse"),
        ("teacher={model: x.onnx, copies: 0}", "teacher.copies is 0; expected a whole number of at least 1"),
        ("optimiser.precision=fp16", "trains on a GPU only"),
        ("optimiser.batch=100", "fewer than one step takes"),
        ("optimiser", "expected section.name=value"),
    ],
)
def test_a_wrong_setting_is_named(shards, tmp_path, override, said):
    with pytest.raises(ValueError, match=said):
        trainer_of(settings_for(shards, tmp_path / "run", override))
