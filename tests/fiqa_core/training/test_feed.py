"""Worker processes make the batches that one process makes, byte for byte, and leave nothing behind."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import torch

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import StorageError
from fiqa_core.training import feed, sequence
from fiqa_core.training.augment import Augmentation
from fiqa_core.training.data import PoolBatches, ShardBatches, network_input
from fiqa_core.training.dataset_index import index_of_records
from fiqa_core.training.distill import targets_of
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.loop import Trainer
from fiqa_core.training.pool import PoolSettings, build_pool, open_pool
from fiqa_core.training.sequence import Share, StoredSequence
from fiqa_core.training.settings import parse_training
from fiqa_core.training.teacher import TeacherSettings
from fiqa_core.training.worker_count import RULE, default_workers
from pipelines import train_fiqa
from pipelines.jobs import train_job
from tests.makers.containers import FaceRecord, face_records, write_webdataset
from tests.makers.onnx_models import write_linear

ROOT = Path(__file__).resolve().parents[3]
HARSH = Augmentation(flip=0.5, jitter=0.1, degrade=0.5)
CONFIG = {
    "data": {"input": "?", "shuffle": 8},
    "run": {"output": "?", "log_steps": 1, "threads": 1, "device": "cpu"},
    "network": {"width": 16, "depth": 2, "patch": 28},
    "optimiser": {"batch": 6, "epochs": 2, "warmup_epochs": 1},
    "augment": {"jitter": 0.1, "degrade": 0.5},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    faces = face_records(47, identities=5)
    faces.insert(20, FaceRecord("broken", 0, b"no image"))
    return write_webdataset(tmp_path_factory.mktemp("shards") / "faces-%06d.tar", faces, maxcount=16)


def dataset(shards, folder):
    read = ReadSettings()
    units = plan_dataset([str(path) for path in shards], "auto", 1000, str(folder), read).units
    return units, index_of_records(units, read), read


def batches_of(shards, folder, workers, batch=12):
    return ShardBatches(*dataset(shards, folder), HARSH, Share(5, batch, workers=workers), shuffle=20)


def content(batch):
    return [part.numpy().tobytes() for part in batch if part is not None]


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(numbers, seconds=20.0):
    end = time.monotonic() + seconds
    while any(map(is_running, numbers)) and time.monotonic() < end:
        time.sleep(0.05)
    return [number for number in numbers if is_running(number)]


def test_batches_are_equal_byte_for_byte_for_every_number_of_workers_and_undecodable_images_are_counted(
    shards, tmp_path, caplog
):
    alone = batches_of(shards, tmp_path, workers=0)
    wanted = [[content(batch) for batch in alone.epoch(number)] for number in (0, 1)]
    assert [len(epoch) for epoch in wanted] == [4, 4]
    assert sum(float(batch.weights.sum()) for batch in alone.epoch(0)) == 47
    for workers in (1, 2, 3):
        caplog.clear()
        batches = batches_of(shards, tmp_path, workers)
        assert [[content(batch) for batch in batches.epoch(number)] for number in (0, 1)] == wanted
        assert "epoch 1: 1 image could not be decoded, passed over" in caplog.text
        assert len(batches.worker_ids) == workers + 1
        batches.close()


def test_workers_are_at_most_four_batches_ahead_so_that_memory_is_bounded(shards, tmp_path):
    batches = batches_of(shards, tmp_path, workers=2, batch=4)
    next(batches.epoch(0))
    running = batches._feed._running
    while wait([worker.control for worker in running.workers], timeout=1.0):
        feed._hear(running)
    assert running.rows_done == dict.fromkeys((1, 2, 3, 4), 4)
    batches.close()


def test_large_images_are_handed_on_in_smaller_parts_of_the_same_order(shards, tmp_path, monkeypatch):
    units, index, read = dataset(shards, tmp_path)
    images = StoredSequence(tuple(units), index, read, Share(5, 12), shuffle=20, steps_per_epoch=4)
    as_usual = list(images.parts(0))
    assert [part.rows for part in as_usual] == [8, 4] * 4
    monkeypatch.setattr(sequence, "_PART_BYTES", 5000)
    smaller = list(images.parts(0))
    assert max(part.stored_bytes for part in smaller) < 5000 + max(len(face.data) for face in smaller[0].content)
    assert len(smaller) > len(as_usual)
    assert [face for part in smaller for face in part.content] == [face for part in as_usual for face in part.content]


def test_an_epoch_left_and_taken_up_again_goes_on_with_the_same_processes_and_another_place_with_new_ones(
    shards, tmp_path
):
    alone, batches = batches_of(shards, tmp_path, workers=0), batches_of(shards, tmp_path, workers=1)
    wanted = [content(batch) for batch in alone.epoch(0)]
    assert content(next(batches.epoch(0))) == wanted[0]
    first = batches.worker_ids
    for number in first:  # as a terminal or a job scheduler sends them to all processes
        os.kill(number, signal.SIGTERM)
        os.kill(number, signal.SIGINT)
    assert [content(batch) for batch in batches.epoch(0, skip=1)] == wanted[1:]
    assert batches.worker_ids == first
    assert [content(batch) for batch in batches.epoch(0, skip=2)] == wanted[2:]
    second = batches.worker_ids
    assert not set(first) & set(second)
    assert wait_until_gone(first) == []
    del batches
    assert wait_until_gone(second) == []


def test_a_teachers_pool_gives_equal_batches_with_workers(shards, tmp_path):
    teacher = TeacherSettings(str(write_linear(tmp_path / "teacher.onnx", ["n", 3, 112, 112], dim=6)))
    units, _, read = dataset(shards, tmp_path / "plan")
    build_pool(tmp_path / "pool", units, read, PoolSettings(2, seed=3), teacher)
    pool = open_pool(tmp_path / "pool")
    targets = targets_of(pool, natural=False)

    def epoch(workers):
        batches = PoolBatches(pool, targets, HARSH, Share(1, 16, workers=workers), clean_share=0.5)
        found = [content(batch) for batch in batches.epoch(1, skip=1)]
        batches.close()
        return found

    wanted = epoch(0)
    assert len(wanted) == 4
    assert epoch(2) == wanted


def test_a_run_that_goes_on_with_another_number_of_workers_ends_with_the_same_weights(shards, tmp_path):
    def trainer_of(name, workers):
        inputs = f"data.input={json.dumps([str(path) for path in shards])}"
        settings = parse_training(
            json.dumps(CONFIG).encode(),
            "config.json",
            [inputs, f"run.output={tmp_path / name}", f"data.workers={workers}"],
        )
        return Trainer(settings, train_job._batches(settings), torch.device("cpu"))

    whole = trainer_of("whole", 0)
    assert whole.run(lambda _: None)
    assert whole.steps == 16
    broken = trainer_of("broken", 2)
    for step, batch in enumerate(broken.batches.epoch(0)):
        broken.train_step(batch)
        if step == 4:
            break
    folder = broken.save()
    workers = broken.batches.worker_ids
    for number in workers:
        os.kill(number, signal.SIGKILL)
    again = trainer_of("broken", 1)
    again.resume(folder)
    assert again.step == 5
    assert again.run(lambda _: None)
    assert again.batches.worker_ids == []  # the end of the run ended them
    for one, other in ((whole.student, again.student), (whole.softmax, again.softmax)):
        left, right = one.state_dict(), other.state_dict()
        assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(("number", "name"), [(0, "reader"), (1, "decoder 0")])
def test_a_killed_worker_is_an_error_that_says_what_to_do_and_the_others_end(shards, tmp_path, number, name):
    batches = batches_of(shards, tmp_path, workers=1, batch=4)
    next(batches.epoch(0))
    workers = batches.worker_ids
    os.kill(workers[number], signal.SIGKILL)
    with pytest.raises(TrainingError, match=rf"'{name}' \({workers[number]}\).*SIGKILL.*--resume.*--workers 0"):
        list(itertools.chain(batches.epoch(0, skip=1), *map(batches.epoch, range(1, 9))))
    assert wait_until_gone(workers) == []


def test_what_keeps_the_reader_from_reading_is_raised_as_it_is_in_one_process(tmp_path):
    paths = write_webdataset(tmp_path / "faces-%06d.tar", face_records(24), maxcount=12)
    found = dataset(paths, tmp_path / "plan")
    paths[1].unlink()
    kinds = []
    for workers in (0, 1):
        batches = ShardBatches(*found, HARSH, Share(5, 4, workers=workers), shuffle=1)
        with pytest.raises((StorageError, OSError), match=paths[1].name) as caught:
            list(batches.epoch(0))
        kinds.append(type(caught.value))
    assert kinds[0] is kinds[1]


def test_a_killed_trainer_leaves_no_process_and_no_shared_memory(shards, tmp_path):
    before = set(Path("/dev/shm").iterdir())
    script = Path(__file__).with_name("feeding_until_killed.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path), *map(str, shards)]
    trainer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        _, *workers = json.loads(trainer.stdout.readline())
        alive = [is_running(number) for number in workers]
        held = [path.readlink().name for path in Path(f"/proc/{workers[1]}/fd").iterdir()]
    finally:
        trainer.kill()
        trainer.communicate()
    assert alive == [True, True, True]
    assert sum(name.startswith("memfd:") and name.endswith("(deleted)") for name in held) == 4
    assert wait_until_gone(workers) == []
    # Other programs may use the folder meanwhile; ours never does.
    assert not [path for path in set(Path("/dev/shm").iterdir()) - before if "fiqa" in path.name]


def test_pixels_become_the_input_that_scoring_gives_the_network():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 49).reshape(1, 112, 112, 3)
    made = network_input(pixels)
    assert made.shape == (1, 3, 112, 112)
    assert made.is_contiguous()
    assert torch.equal(made[0, 1, 5, 7], (pixels[0, 5, 7, 1].float() / 255 - 0.5) / 0.5)
    assert (float(made.min()), float(made.max())) == (-1, 1)


def test_the_number_of_workers_follows_device_and_cores_and_help_says_how(capsys):
    assert [default_workers("cpu", cores, 1) for cores in (1, 2, 64)] == [0, 0, 0]
    assert [default_workers("cuda", cores, 1) for cores in (1, 2, 4, 16)] == [1, 1, 2, 8]
    assert default_workers("cuda", 32, 8) == 2
    with pytest.raises(SystemExit):
        train_fiqa.run(["--help"])
    assert " ".join(RULE.split()) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("workers", [-1, 1000])
def test_a_number_of_workers_out_of_range_is_refused(workers, tmp_path, caplog, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    words = ["--config", str(config), "--input", "x.tar", "--output", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        train_fiqa.run([*words, "--workers", str(workers)])
    assert ended.value.code == 2
    assert f"--workers: expected a whole number from 0 to 256, found '{workers}'" in capsys.readouterr().err
    assert train_fiqa.run([*words, "--set", f"data.workers={workers}"]) == 2
    assert f"data.workers is {workers}; expected a whole number from 0 to 256" in caplog.text
