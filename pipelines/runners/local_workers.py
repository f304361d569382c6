"""How many worker processes a run on this machine gets, and whether they share a scoring process."""

import argparse
import logging
import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.devices import Gpus, gpus_to_share, resolve_device
from fiqa_core.scoring.scorer_sources import DeviceSource, ScorerSource
from fiqa_core.scoring.service.source import ServedSource
from fiqa_core.shards.plan import Plan
from fiqa_core.wording import counted
from pipelines.cli.table_options import MANY_IMAGES
from pipelines.runners.beam_options import (
    in_this_process,
    is_in_process,
    is_local,
    set_local_processes,
    worker_processes,
)
from pipelines.runners.dataflow import runs_in_one_process

_log = logging.getLogger(__name__)

_IMAGE_BYTES = 6_000  # of a stored 112x112 face in a shard, where only reading tells how many there are


def choose_workers(
    options: PipelineOptions, arguments: argparse.Namespace, plan: Plan, devices: Gpus | None = None
) -> None:
    """Choose the number of worker processes of a local run on a GPU, and log it.

    With many images one per core, less one for the scoring process; with few one per GPU. A number that the user gave
    stays, and so does one process where the input, the output or the network is in `memory://`.
    """
    gpus = gpus_to_share(arguments.device, devices)
    if not gpus or not is_local(options):
        return
    if arguments.processes_chosen:
        if gpus > 1 and worker_processes(options) == 1:
            _log.warning(
                "%d GPUs, but one worker process uses only one; leave out the options that set the number of processes",
                gpus,
            )
        return
    in_memory = in_this_process(uri for uris in places_of(arguments).values() for uri in uris)
    if in_memory is not None:
        _log.info("one worker process: %s is seen by this process only", in_memory)
        return
    images = planned_images(plan)
    many = images >= MANY_IMAGES and arguments.scoring_process != "off"
    count = min(max(gpus, (os.cpu_count() or 1) - 1) if many else gpus, len(plan.units))
    if count > 1:
        set_local_processes(options, count)
    _log.info(
        "%s for about %s on %s (one a core from %s images on; --workers N changes it)",
        *(counted(max(count, 1), "worker process", "worker processes"), counted(images, "image")),
        *(counted(gpus, "GPU"), f"{MANY_IMAGES:,}"),
    )


def places_of(arguments: argparse.Namespace) -> dict[str, Sequence[str]]:
    """Option -> URIs that every worker must be able to open: input, output, and the network's file."""
    model = getattr(arguments, "model", None)  # the command that scores by sizes has no network
    network = {} if model is None else {"--model": [model]}
    return {"--input": arguments.input, "--output": [arguments.output], **network}


def planned_images(plan: Plan) -> int:
    """Number of images of a plan; estimated from its bytes if only reading can tell."""
    if plan.records is not None:
        return plan.records
    return sum(unit.records if unit.records >= 0 else max(unit.size, 0) // _IMAGE_BYTES for unit in plan.units)


def served(source: ScorerSource, options: PipelineOptions, arguments: argparse.Namespace, device: str) -> ScorerSource:
    """The source that workers use: one scoring process per device, or a network in each worker process.

    `device`: the device option of the workers.
    """
    if arguments.scoring_process == "off" or not isinstance(source, DeviceSource):
        return source
    if arguments.scoring_process == "on":
        return ServedSource(source, device, on_cpu=True)
    if is_in_process(options) or runs_in_one_process(options):
        return source
    if is_local(options) and (worker_processes(options) == 1 or resolve_device(device).type == "cpu"):
        return source
    return source if device == "cpu" else ServedSource(source, device)
