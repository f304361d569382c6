"""The options that only Google Cloud Dataflow has."""

import argparse

from pipelines.cli.gpu_machines import parse_gpu
from pipelines.cli.parser import Parser


def add_dataflow_options(parser: Parser) -> None:
    """Add --gpu and --no-wait."""
    group = parser.add_argument_group("Dataflow (docs/dataflow.md)")
    group.add_argument(
        "--gpu",
        type=parse_gpu,
        metavar="TYPE[:COUNT]",
        help="GPUs of each worker: nvidia-l4, nvidia-tesla-t4, nvidia-tesla-a100, nvidia-h100-80gb ... (default: "
        "none). It becomes the resource hint of the scoring stage, with one scoring process a GPU. Machine type, disk, "
        "processes and threads are chosen to fit and logged; your own --machine_type, --disk_size_gb, --experiments, "
        "--number_of_worker_harness_threads ... come first",
    )
    add_no_wait(group)


def add_no_wait(group: argparse._ArgumentGroup) -> None:
    """Submit a job and return."""
    group.add_argument(
        "--no-wait",
        action="store_true",
        help="submit the job and return (exit code 0 then means: submitted); --resume later checks the account",
    )
