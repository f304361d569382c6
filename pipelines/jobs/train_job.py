"""What train_fiqa does once its command line is read."""

import argparse
import json
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.distributed as dist

from fiqa_core import storage
from fiqa_core.devices import resolve_device
from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.networks.start_weights import start_from
from fiqa_core.networks.vit_fiqa import ViTFIQA
from fiqa_core.runs.folder import check, clear, prepare
from fiqa_core.runs.lock import hold_output
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.tables.attached_labels import read_label_list
from fiqa_core.training import checkpoint
from fiqa_core.training.data import Batches, PoolBatches, ShardBatches
from fiqa_core.training.dataset_index import DatasetIndex, index_of_decisions, index_of_records
from fiqa_core.training.distill import targets_of
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.export import write_model, write_score_only
from fiqa_core.training.kept_pool import kept_of
from fiqa_core.training.loop import Trainer, refuse_precision
from fiqa_core.training.pool import Pool, PoolSettings, build_pool, open_pool
from fiqa_core.training.pool_pixels import PoolPixels
from fiqa_core.training.sequence import Share
from fiqa_core.training.settings import SECTIONS, DataSettings, TeacherOptions, TrainingSettings, read_training
from fiqa_core.training.sharded_softmax import process, processes
from fiqa_core.training.stem_features import stem_features
from fiqa_core.training.training_run import DATASET, MODEL, POOL, SCORE_ONLY, SETTINGS, TRAINING_RUN
from fiqa_core.training.worker_count import default_workers, training_processes_here, usable_cores
from fiqa_core.wording import counted
from pipelines.cli.exit_codes import EXIT_INTERRUPTED, EXIT_OK
from pipelines.cli.log_format import report
from pipelines.cli.program import runnable
from pipelines.cli.setting_options import given_settings

_log = logging.getLogger("train_fiqa")
_UNIT_SIZE = 4000


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # nothing is passed on
    """Train in this process, which may be one of several."""
    try:
        return _train(arguments)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _train(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    device = _join_processes(settings)
    refuse_precision(settings, device)
    with hold_output(settings.run.output) if process() == 0 else nullcontext():
        return _run(settings, device, arguments.resume, arguments.overwrite)


def _run(settings: TrainingSettings, device: torch.device, resume: bool, overwrite: bool) -> int:
    output = Path(settings.run.output)
    (prepare if process() == 0 else check)(str(output), TRAINING_RUN, resume, overwrite)
    earlier = [] if overwrite else checkpoint.found(output)
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    batches = _batches(settings)
    trainer = Trainer(settings, batches, device)
    if earlier:
        trainer.resume(earlier[-1])
        if trainer.step >= trainer.steps and _are_written(settings, output):
            _log.info("the run in %s is complete already: nothing to do", output)
            return EXIT_OK
        _log.info("going on from %s", earlier[-1])
    elif process() == 0:
        if overwrite:
            clear(str(output), TRAINING_RUN)
        described = json.dumps(settings.that_shape_weights(), indent=1, sort_keys=True)
        storage.publish_bytes(described.encode(), str(output), str(output / SETTINGS))
    _log.info(
        "%s of %d x %s, %s, %.2f M parameters",
        counted(trainer.steps, "step"),
        processes(),
        counted(settings.optimiser.batch, "image"),
        counted(batches.class_count, "identity", "identities"),
        sum(parameter.numel() for parameter in trainer.student.parameters()) / 1e6,
    )
    if not trainer.run():
        _log.warning("stopped with a checkpoint; go on with --resume")
        return EXIT_INTERRUPTED
    if process() == 0:
        report(_written(trainer, settings, output))
    return EXIT_OK


def _are_written(settings: TrainingSettings, output: Path) -> bool:
    return (output / MODEL).is_file() and (not settings.run.score_only or (output / SCORE_ONLY).is_file())


def _written(trainer: Trainer, settings: TrainingSettings, output: Path) -> list[str]:
    network = cast(ViTFIQA, trainer.result)
    written = [write_model(network, output)]
    if settings.run.score_only:
        written.append(write_score_only(network, output, settings.run.score_only))
    size = [f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in written]
    return [*size, f"next: {runnable('score_dataset')} --model {written[-1]} --input ... --output ..."]


def _batches(settings: TrainingSettings) -> Batches:
    data = settings.data
    read = ReadSettings(data.label_field, data.image_field)
    workspace = Path(settings.run.output) / DATASET / f"process-{process()}"
    units = plan_dataset(data.input, data.format, _UNIT_SIZE, str(workspace), read).units
    share = _share(settings)
    teacher = settings.teacher
    if teacher is None:
        index = _index(data, units, read)
        _log.info(
            "%s of %s in %s",
            counted(index.kept, "image"),
            counted(len(index.labels), "identity", "identities"),
            counted(len(units), "unit"),
        )
        return ShardBatches(units, index, read, settings.augment, share, data.shuffle, data.channel_order)
    if data.labels:
        raise TrainingError(
            "data.labels does not go with a teacher, whose pool holds images of labelled records only. Write the "
            f"images with their labels first: {runnable('filter_dataset')} --labels FILE --write webdataset ..."
        )
    # Before the pool is made: a wrong table is refused at once.
    kept = _index(data, units, read) if data.decisions else None
    pool, weights = _pool(settings, teacher, units, read), None
    if kept is not None:
        pool, weights = kept_of(pool, units, kept)
    targets = targets_of(pool, teacher.natural, teacher.shrink)
    quantiles = np.quantile(targets.certainty, (0.05, 0.25, 0.5, 0.75, 0.95)).round(3).tolist()
    _log.info(
        "%s in the pool; certainty ratio at 5, 25, 50, 75, 95 %%: %s", counted(len(targets.classes), "image"), quantiles
    )
    features = _features(settings, pool)
    return PoolBatches(pool, targets, settings.augment, share, teacher.clean_share, weights, features)


def _features(settings: TrainingSettings, pool: Pool) -> PoolPixels | None:
    """What the stem's frozen layers give for the pool; None: they are computed for each batch, or nothing is frozen."""
    network, augment = settings.network, settings.augment
    if not network.frozen or not network.start or augment.flip or augment.jitter or augment.degrade:
        return None
    stem = ConvStem(network.config().width, network.patch)
    start_from(stem, network.start)
    if process() == 0:
        stem_features(pool, stem, network.frozen, lambda *at: _log.info("features: %d of %d parts", *at))
    if processes() > 1:
        dist.barrier()
    return stem_features(pool, stem, network.frozen)


def _index(data: DataSettings, units: Sequence[Unit], read: ReadSettings) -> DatasetIndex:
    """The images to train on, with their labels."""
    attached = read_label_list(data.labels, data.labels_key, data.labels_column) if data.labels else None
    if data.decisions:
        return index_of_decisions(units, data.decisions, attached)
    return index_of_records(units, read, attached)


def _share(settings: TrainingSettings) -> Share:
    """This process's share of the work, and who reads and decodes it."""
    device, threads = resolve_device(settings.run.device).type, max(1, settings.run.decode_threads)
    cores, beside = usable_cores(), training_processes_here()
    workers = settings.data.workers
    # A teacher's images are read from its pool, which is on a disk.
    read_later = settings.data.input if settings.teacher is None else ()
    in_memory = next((uri for uri in read_later if storage.in_this_process_only(uri)), None)
    if workers is None:
        workers = 0 if in_memory else default_workers(device, cores, beside)
    elif workers and in_memory:
        raise TrainingError(
            f"{in_memory}: memory:// is seen by one process only, and the images were to be read by others (--workers "
            f"{workers}). Use --workers 0, or a place that all of them reach."
        )
    where = f"this process, {counted(threads, 'thread')}"
    if workers:
        where = f"{counted(workers, 'worker process', 'worker processes')}; one more reads"
    _log.info(
        "images are decoded and augmented by %s (%s, %s, %s on this machine; --workers N or data.workers changes it)",
        where,
        device,
        counted(cores, "core"),
        counted(beside, "training process", "training processes"),
    )
    return Share(
        settings.run.seed, settings.optimiser.batch, process(), processes(), threads, workers, device == "cuda"
    )


def _pool(settings: TrainingSettings, teacher: TeacherOptions, units: Sequence[Unit], read: ReadSettings) -> Pool:
    """The pool of images; the first process makes it while the others wait."""
    folder = Path(teacher.pool) if teacher.pool else Path(settings.run.output) / POOL
    # Making a pool can take longer than the minutes that processes wait for each other by default.
    patient = dist.new_group(backend="gloo", timeout=timedelta(days=30)) if processes() > 1 else None
    if process() == 0:

        def progress(done: int, parts: int) -> None:
            _log.info("pool: %d of %s", done, counted(parts, "part"))

        made = PoolSettings(teacher.copies, teacher.seed, settings.data.channel_order, teacher.jitter)
        threads = settings.run.threads or os.cpu_count() or 1
        with hold_output(str(folder)):
            build_pool(folder, units, read, made, teacher, threads, progress, settings.second_teacher)
    if patient is not None:
        try:
            dist.barrier(patient)
        except RuntimeError as error:
            raise TrainingError("the process that makes the pool stopped; its message says why") from error
    return open_pool(folder)


def _settings(arguments: argparse.Namespace) -> TrainingSettings:
    options = given_settings(arguments, SECTIONS)
    return _with_local_folders(read_training(arguments.config, arguments.set, options))


def _with_local_folders(settings: TrainingSettings) -> TrainingSettings:
    """The settings with `file://` addresses replaced by paths."""
    run, teacher = settings.run, settings.teacher
    for name, folder in (("run.output", run.output), ("teacher.pool", teacher.pool if teacher else None)):
        if folder and not storage.is_local(folder):
            raise TrainingError(
                f"{name} is {folder}; it must be a folder on a local or shared disk, because checkpoints are put in "
                "place by renaming folders. Train to such a folder and copy model.pt afterwards."
            )
    if "://" in run.output:
        settings = replace(settings, run=replace(run, output=storage.absolute(run.output)))
    if teacher and teacher.pool and "://" in teacher.pool:
        settings = replace(settings, teacher=replace(teacher, pool=storage.absolute(teacher.pool)))
    return settings


def _join_processes(settings: TrainingSettings) -> torch.device:
    """Connect to the other processes, if there are any; returns the device of this one."""
    device = resolve_device(settings.run.device)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        if device.index is not None:
            torch.cuda.set_device(device)  # pinned memory belongs to the current one
        return device
    if device.type == "cuda":
        number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= count:
            raise TrainingError(
                f"process {number} has no GPU: {counted(count, 'is', 'are')} here; start at most "
                f"{counted(count, 'process', 'processes')}"
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)  # before anything is exchanged: NCCL takes the current one
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device
