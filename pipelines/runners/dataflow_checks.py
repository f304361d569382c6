"""Everything that would keep a Dataflow job from running, found without a network and before anything is written."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

from fiqa_core.extras import install_extra
from pipelines.cli.gpu_machines import Gpu, MachineError, machine_type, parse_accelerator


def find_problems(
    options: PipelineOptions, gpu: Gpu | None, device: str, places: Mapping[str, Sequence[str]]
) -> tuple[Gpu | None, list[str]]:
    """The GPUs that are requested, by whichever option, and one line for each problem.

    Args:
        options: Beam's options. gpu, device: our own. places: option -> URIs that the workers must be able to open.
    """
    requested, problems = _gpu_request(options, gpu)
    problems += _missing(options, places)
    problems += _contradictions(options, requested, device)
    if not problems:
        # Beam's own checks of the options; those that need the network run when the pipeline is built.
        problems += _malformed(options)
    return requested, problems


def is_prime(options: PipelineOptions) -> bool:
    """Whether the job is for Dataflow Prime, which sizes its workers itself."""
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    return "enable_prime" in services or bool(options.view_as(DebugOptions).lookup_experiment("enable_prime"))


def _gpu_request(options: PipelineOptions, gpu: Gpu | None) -> tuple[Gpu | None, list[str]]:
    """The request for GPUs, by whichever option; more than one is a problem (Dataflow takes one)."""
    requests = [(f"--gpu {gpu}", gpu)] if gpu is not None else []
    problems = []
    for option, text in _accelerators(options):
        try:
            requests.append((option, parse_accelerator(text)))
        except ValueError as error:
            problems.append(f"{option}: {error}")
    if len(requests) > 1:
        names = " and ".join(name for name, _ in requests)
        problems.append(f"GPUs are asked for twice, by {names}: Dataflow takes one of them, so leave one out")
    return (requests[0][1] if requests else None), problems


def _accelerators(options: PipelineOptions) -> list[tuple[str, str]]:
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    experiments = options.view_as(DebugOptions).experiments or []
    hints = options.view_as(StandardOptions).resource_hints or []
    given = [("--dataflow_service_options worker_accelerator", s, "worker_accelerator=") for s in services]
    given += [("--experiments worker_accelerator", e, "worker_accelerator=") for e in experiments]
    given += [("--resource_hints accelerator", h, "accelerator=") for h in hints]
    return [(option, text.removeprefix(start)) for option, text, start in given if text.startswith(start)]


def _missing(options: PipelineOptions, places: Mapping[str, Sequence[str]]) -> list[str]:
    google, worker, setup = (options.view_as(kind) for kind in (GoogleCloudOptions, WorkerOptions, SetupOptions))
    problems = []
    try:
        importlib.import_module("google.cloud.dataflow")
        importlib.import_module("google.cloud.storage")
    except ImportError as error:
        problems.append(f"Dataflow's client is not installed ({error}): {install_extra('gcp')}")
    if not google.project:
        problems.append("--project PROJECT is missing: the ID of your Google Cloud project")
    if not google.region:
        problems.append("--region REGION is missing, for example us-central1 (GPU quota is per region)")
    if not google.temp_location:
        problems.append("--temp_location gs://BUCKET/tmp is missing: where the job's files are staged")
    code = worker.sdk_container_image or worker.worker_harness_container_image
    packages = setup.setup_file or setup.extra_packages
    if not (code or packages):
        problems.append(
            "--sdk_container_image IMAGE is missing (docker/Dockerfile makes it): the workers need this package "
            "and torch. Or --setup_file ./setup.py, which installs both on every worker as it starts"
        )
    if setup.setup_file and not Path(setup.setup_file).is_file():
        problems.append(f"--setup_file {setup.setup_file}: no such file")
    for option, uris in places.items():
        local = [uri for uri in uris if _is_local(uri)]
        if local:
            more = f" (and {len(local) - 1} more)" if len(local) > 1 else ""
            problems.append(
                f"{option} {local[0]}{more}: on this machine, where the workers cannot see it; copy it to a bucket "
                "(gcloud storage cp -r) and give it as gs://BUCKET/..."
                if option != "--output"
                else f"{option} {local[0]}: on this machine, which the workers cannot reach; name a folder gs://BUCKET/..."
            )
    return problems


def _contradictions(options: PipelineOptions, gpu: Gpu | None, device: str) -> list[str]:
    problems = []
    if gpu is None and device.startswith("cuda"):
        problems.append(f"--device {device} needs workers with a GPU: say --gpu TYPE, for example --gpu nvidia-l4")
    if gpu is not None and device == "cpu":
        problems.append("--device cpu would leave the requested (and paid) GPUs idle: leave one of the two out")
    if gpu is not None and options.view_as(GoogleCloudOptions).flexrs_goal:
        problems.append("--flexrs_goal: Dataflow has no flexible scheduling of workers with GPUs; leave it out")
    if gpu is not None and not is_prime(options) and not options.view_as(WorkerOptions).machine_type:
        try:
            machine_type(gpu)
        except MachineError as error:
            problems.append(f"--machine_type is missing: {error}")
    return problems


def _malformed(options: PipelineOptions) -> list[str]:
    google = options.view_as(GoogleCloudOptions)
    validator = PipelineOptionsValidator(options, None)
    found = validator.validate() + validator.validate_gcs_path(google, "temp_location")
    if "//localhost" not in google.dataflow_endpoint:
        found += validator.validate_cloud_options(google)
    worker = options.view_as(WorkerOptions)
    found += validator.validate_num_workers(worker) + validator.validate_worker_region_zone(worker)
    if google.staging_location != google.temp_location:
        found += validator.validate_gcs_path(google, "staging_location")
    return [str(text) for text in found]


def _is_local(uri: str) -> bool:
    scheme, separator, _ = uri.partition("://")
    return not separator or scheme in ("file", "local", "memory")
