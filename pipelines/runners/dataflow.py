"""Dataflow: what `--gpu` asks for, defaults that fit it, and one check of everything before anything is written."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)

from pipelines.cli.errors import OptionError
from pipelines.cli.gpu_machines import Gpu, machine_type
from pipelines.cli.log_format import Lines
from pipelines.runners.dataflow_checks import find_problems, is_prime

_log = logging.getLogger(__name__)

THREADS_PER_GPU = 4
GPU_DISK_GB = 50
GPU_MAX_WORKERS = 10
MIN_RAM = "14GB"
_ONE_PROCESS = "no_use_multiple_sdk_containers"
# Processes of one container see each other's scoring process; those of several containers may not.
_SIBLINGS = "use_sibling_sdk_workers"
_PROCESS_EXPERIMENTS = ("use_multiple_sdk_containers", "no_use_sibling_sdk_workers", _SIBLINGS)


@dataclass(frozen=True)
class WorkerSetup:
    """Settings of the scoring stage that depend on where it runs.

    Attributes:
        device: as in `--device`; gpus: models (one per GPU) in one worker process.
        threads: CPU threads of the network in each process, 0 = torch's own choice.
        hints: Beam resource hints of the scoring stage, and of no other.
    """

    device: str
    gpus: int = 1
    threads: int = 0
    hints: dict[str, str] = field(default_factory=dict)


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether the runner is Google Cloud Dataflow, under any name that Beam accepts for it."""
    runner = str(options.view_as(StandardOptions).runner).rpartition(".")[2].lower()
    return runner in ("dataflow", "dataflowrunner", "testdataflow", "testdataflowrunner")


def runs_in_one_process(options: PipelineOptions) -> bool:
    """Whether the user asked for one process per Dataflow worker."""
    return is_dataflow(options) and bool(options_view(options, DebugOptions).lookup_experiment(_ONE_PROCESS))


def is_dry_run(options: PipelineOptions) -> bool:
    """Whether the job is to be translated only (Beam's --dry_run True)."""
    return str(options.view_as(TestOptions).dry_run).lower() not in ("false", "0", "no", "none", "")


def prepare(
    options: PipelineOptions, gpu: Gpu | None, device: str, no_wait: bool, places: Mapping[str, Sequence[str]]
) -> WorkerSetup:
    """Check the options of a run and fill in what was left open; no network, nothing is written.

    Args:
        options: Beam's options; for Dataflow, what the user left open is set in them.
        gpu, device, no_wait: our own options. places: option -> URIs that the workers must be able to open.

    Raises:
        OptionError: everything that would keep a Dataflow job from running, in one message; or an option
            that only Dataflow has, given with another runner.
    """
    if not is_dataflow(options):
        _refuse_elsewhere(options, gpu, no_wait)
        return WorkerSetup(device)
    _take_environment(options)
    requested, problems = find_problems(options, gpu, device, places)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise OptionError(
            f"the Dataflow job cannot be submitted; nothing was written. To fix ({len(problems)}):\n{lines}\n"
            "docs/dataflow.md has a complete command."
        )
    choices = _Choices(options)
    if requested is None:
        setup = _choose_for_cpu(choices, device)
    else:
        setup = _choose_for_gpu(choices, requested, gpu is not None, device)
    choices.log(setup)
    return setup


def _refuse_elsewhere(options: PipelineOptions, gpu: Gpu | None, no_wait: bool) -> None:
    runner = str(options.view_as(StandardOptions).runner).rpartition(".")[2]
    if gpu is not None:
        raise OptionError(
            f"--gpu {gpu} asks Dataflow for workers with that GPU, but the runner is {runner}. Say --runner "
            "DataflowRunner; a GPU that is already in the machine is used with --device cuda."
        )
    for given, name in ((no_wait, "--no-wait"), (is_dry_run(options), "--dry_run")):
        if given:
            raise OptionError(f"{name} is for --runner DataflowRunner; the runner is {runner}, which would run anyway")


def _take_environment(options: PipelineOptions) -> None:
    # Beam takes any text as true, even `--dry_run False`.
    options_view(options, TestOptions).dry_run = is_dry_run(options)
    google = options_view(options, GoogleCloudOptions)
    google.region = google.region or os.environ.get("CLOUDSDK_COMPUTE_REGION")
    google.staging_location = google.staging_location or google.temp_location
    google.temp_location = google.temp_location or google.staging_location
    setup = options.view_as(SetupOptions)
    if setup.setup_file:
        # Beam changes into its folder, which for a bare `setup.py` has no name.
        setup.setup_file = str(Path(setup.setup_file).absolute())


class _Choices:
    """Sets options that the user left open, and remembers what was chosen and why, for the log."""

    def __init__(self, options: PipelineOptions) -> None:
        self.options = options
        self._lines: list[str] = []

    def default(self, kind: type[PipelineOptions], name: str, value: Any, why: str) -> Any:
        """The user's own value of an option, else `value`."""
        view = options_view(self.options, kind)
        given = getattr(view, name)
        if given is None:
            setattr(view, name, value)
        self.note(f"--{name} {value if given is None else given}", why if given is None else "as given")
        return value if given is None else given

    def note(self, what: str, why: str) -> None:
        self._lines.append(f"  {what}: {why}")

    def log(self, setup: WorkerSetup) -> None:
        google = options_view(self.options, GoogleCloudOptions)
        for name, value in setup.hints.items():
            self.note(f"resource hint {name}={value}", "on the scoring stage only")
        chosen = "\n".join(self._lines)
        _log.info("Dataflow job %s in %s, %s:\n%s", google.job_name, google.project, google.region, Lines(chosen))


def options_view(options: PipelineOptions, kind: type[PipelineOptions]) -> Any:
    """A view of the options, typed for those who set attributes in it."""
    return options.view_as(kind)


def _choose_for_gpu(choices: _Choices, gpu: Gpu, as_hint: bool, device: str) -> WorkerSetup:
    _choose_job(choices)
    prime = is_prime(choices.options)
    hints = {"accelerator": gpu.accelerator} if as_hint else {}
    if prime:
        hints |= {"min_ram": MIN_RAM} if as_hint else {}
        choices.note("--machine_type", "left to Dataflow Prime, which sizes the workers by the resource hints")
    else:
        own = options_view(choices.options, WorkerOptions).machine_type
        fitting = own or machine_type(gpu)
        choices.default(WorkerOptions, "machine_type", fitting, f"carries {gpu.count} x {gpu.type}")
    choices.default(WorkerOptions, "disk_size_gb", GPU_DISK_GB, "holds the container image with CUDA")
    _choose_scaling(choices)
    debug = options_view(choices.options, DebugOptions)
    one_process = bool(debug.lookup_experiment(_ONE_PROCESS))
    if one_process:
        choices.note(f"--experiments {_ONE_PROCESS}", "as given: one process a worker, with one network for each GPU")
        why = f"{THREADS_PER_GPU} units at once for each GPU, so that reading and decoding keep it busy"
    else:
        given = next((name for name in _PROCESS_EXPERIMENTS if debug.lookup_experiment(name)), None)
        if given is None:
            debug.add_experiment(_SIBLINGS)
        said = "a worker process for each vCPU, all in one container; one scoring process for each GPU"
        choices.note(f"--experiments {given or _SIBLINGS}", "as given" if given else said)
        why = "one unit at a time in each process"
    choices.default(
        DebugOptions, "number_of_worker_harness_threads", gpu.count * THREADS_PER_GPU if one_process else 1, why
    )
    chosen = "cuda" if device == "auto" else device
    choices.note(f"--device {chosen}", "a worker without its GPU is an error, never a CPU run")
    return WorkerSetup(chosen, gpu.count if one_process and chosen == "cuda" else 1, 0, hints)


def _choose_for_cpu(choices: _Choices, device: str) -> WorkerSetup:
    _choose_job(choices)
    debug = options_view(choices.options, DebugOptions)
    if debug.lookup_experiment(_ONE_PROCESS):
        choices.note(f"--experiments {_ONE_PROCESS}", "as given: one process a worker, torch uses every vCPU")
        threads = 0
    else:
        choices.note("processes", "one a vCPU (Dataflow's default), each with its own copy of the model")
        threads = 1
    choices.default(DebugOptions, "number_of_worker_harness_threads", 1, "one unit at a time in each process")
    choices.note("GPU", "none asked for (--gpu TYPE); the workers score on their CPUs")
    return WorkerSetup(device, threads=threads)


def _choose_job(choices: _Choices) -> None:
    name = f"fiqa-score-{datetime.now():%Y%m%d-%H%M%S}"
    choices.default(GoogleCloudOptions, "job_name", name, "the console lists the job under it")
    worker = options_view(choices.options, WorkerOptions)
    setup = options_view(choices.options, SetupOptions)
    image = worker.sdk_container_image or worker.worker_harness_container_image
    if image:
        choices.note(f"--sdk_container_image {image}", "as given")
    else:
        choices.note("container", "Beam's own image; package and torch are installed as each worker starts (minutes)")
    if setup.setup_file:
        choices.note(f"--setup_file {setup.setup_file}", "as given; this code replaces what the image has of it")


def _choose_scaling(choices: _Choices) -> None:
    worker = options_view(choices.options, WorkerOptions)
    algorithm = choices.default(
        WorkerOptions, "autoscaling_algorithm", "THROUGHPUT_BASED", "workers come and go with the units left"
    )
    if algorithm != "NONE":
        most = max(GPU_MAX_WORKERS, worker.num_workers or 0)
        choices.default(WorkerOptions, "max_num_workers", most, "a bound on cost; your GPU quota may be lower")
