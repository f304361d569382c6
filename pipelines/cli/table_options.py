"""Options that score_dataset and embed_dataset share."""

import argparse

from fiqa_core.scoring.settings import batch_that_counts
from fiqa_core.shards.formats import AUTO, input_formats
from fiqa_core.shards.unit import MAX_STORED_BYTES, ReadSettings
from pipelines.cli.command import named, positive
from pipelines.runners.local_workers import MANY_IMAGES

DEFAULT_UNIT_SIZE = 4000

EPILOG = (
    "Beam's own options are passed on: --runner, --direct_running_mode, --direct_num_workers, "
    "--project, --region, --temp_location ... Exit code: 0 every record is accounted for; 2 bad input or "
    "option, or the run broke off; 3 finished with units or shards that could not be read; 130 interrupted "
    "(a Dataflow job goes on). With --no-wait, 0: submitted."
)


def read_settings(arguments: argparse.Namespace) -> ReadSettings:
    """What the containers are told."""
    return ReadSettings(arguments.label_field, arguments.image_field, MAX_STORED_BYTES)


def batch_setting(arguments: argparse.Namespace) -> int:
    """The batch size, where it is one of the settings that change a score; 0 where it is not.

    Without --batch-size it is the default of --device; `auto` is looked up on this machine.
    """
    if batch_that_counts(arguments.precision, 1) == 0:
        return 0
    from fiqa_core.devices import resolve_device
    from fiqa_core.scoring.scorer import DEFAULT_BATCH

    kind = str(arguments.device).partition(":")[0]
    if kind == "auto":
        kind = "cuda" if arguments.gpu else resolve_device("auto").type
    return batch_that_counts(arguments.precision, arguments.batch_size or DEFAULT_BATCH[kind])


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where records come from and the table goes."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--input", type=named, nargs="+", required=True, metavar="URI", help="shards, folders, globs; any fsspec URI"
    )
    data.add_argument(
        "--output", type=named, required=True, metavar="URI", help="folder for the table; must be empty or not exist"
    )
    data.add_argument("--format", choices=input_formats(), default=AUTO, help="what the input is (auto: by file names)")
    data.add_argument("--label-field", default="", metavar="NAME", help="Parquet column or JSON field of the label")
    data.add_argument("--image-field", default="", metavar="NAME", help="Parquet column of the image")


def add_heads_option(network: argparse._ArgumentGroup) -> None:
    """What the tensors of a checkpoint do not show."""
    network.add_argument(
        "--heads",
        type=positive,
        metavar="N",
        help="attention heads of a checkpoint's ViT, where neither its file nor its size (vit_t, vit_s, vit_b) tells",
    )


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """What images are admitted, and what is noted of them."""
    images = parser.add_argument_group("images")
    images.add_argument(
        "--channel-order",
        choices=("rgb", "bgr-files"),
        default="rgb",
        help="bgr-files: sets made by the original extraction scripts, whose red and blue are swapped in the files",
    )
    images.add_argument("--min-side", type=positive, default=16, metavar="PIXELS", help="smaller images are too_small")
    images.add_argument(
        "--phash",
        action="store_true",
        help="add the columns phash and thumb (1 KiB a row), by which near duplicates are found",
    )


def add_speed_options(parser: argparse.ArgumentParser, batch_help: str) -> argparse._ArgumentGroup:
    """Device, batches and threads; the group, for options that only one command has."""
    speed = parser.add_argument_group("speed")
    speed.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help="missing device = error")
    speed.add_argument("--batch-size", type=positive, metavar="N", help=batch_help)
    speed.add_argument("--threads", type=positive, metavar="N", help="CPU threads of the network, each process")
    speed.add_argument(
        "--decode-threads", type=positive, metavar="N", help="beside the network (default: cores a worker, at most 4)"
    )
    speed.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="worker processes on this machine (default: 1, or one a GPU; on a GPU with about "
        f"{MANY_IMAGES:,} images or more one a core, less one: starting them takes some 20 s)",
    )
    speed.add_argument(
        "--scoring-process",
        choices=("auto", "on", "off"),
        default="auto",
        help="one process a device holds the network and scores what the worker processes read (auto: on GPUs that "
        "several worker processes share; on: on a CPU too)",
    )
    return speed


def add_running_options(parser: argparse.ArgumentParser) -> None:
    """Units, and what to do with an earlier run."""
    running = parser.add_argument_group("running")
    running.add_argument(
        "--unit-size", type=positive, metavar="N", help=f"records a unit (default {DEFAULT_UNIT_SIZE})"
    )
    again = running.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="keep finished units of an earlier run, do the others")
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run first")
