"""Options of the commands that write a table: score_dataset, embed_dataset, measure_baselines."""

import argparse

from fiqa_core.scoring.settings import batch_that_counts
from fiqa_core.shards.formats import AUTO, input_formats
from fiqa_core.shards.sample import Sample
from fiqa_core.shards.unit import MAX_STORED_BYTES, ReadSettings
from pipelines.cli.command import named, positive, whole
from pipelines.cli.errors import OptionError
from pipelines.cli.parser import Parser

DEFAULT_UNIT_SIZE = 4000

# Starting 8-16 worker processes takes about 20 s, and they score 24,000 images/s where one process scores 5,000 (one
# H100, 16 cores, vit_s): 20 s are made up for after 126,000 images.
MANY_IMAGES = 130_000

NOTES = (
    "How --input is resolved: a folder of shards gives its shards, any other folder all its image files; a pattern "
    "gives what it matches. docs/formats.md.",
    "Beam's own options are passed on: --runner, --direct_running_mode, --direct_num_workers, --project, --region, "
    "--temp_location ... (docs/runners.md).",
    "Exit code: 0 every record is accounted for; 2 bad input or option, or the run broke off; 3 finished, but units "
    "or shards could not be read; 4 a bug; 130 interrupted (a Dataflow job goes on). With --no-wait, 0: submitted. "
    "docs/exit_codes.md.",
)


# What --help of the commands that write a table shows of these options.
USUAL = (
    *("--format", "--measures", "--phash", "--align", "--workers"),
    *("--limit", "--sample", "--dry-run", "--resume", "--overwrite"),
)


def read_settings(arguments: argparse.Namespace) -> ReadSettings:
    """How records are read: the fields of label, image and key, and the most bytes of one image."""
    return ReadSettings(arguments.label_field, arguments.image_field, MAX_STORED_BYTES, arguments.key_field)


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


def add_data_options(parser: Parser) -> None:
    """Where records come from and where the table goes."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--input", type=named, nargs="+", required=True, metavar="URI", help="shards, folders or patterns, on any store"
    )
    data.add_argument(
        "--output", type=named, required=True, metavar="URI", help="folder for the table; must be empty or not exist"
    )
    data.add_argument(
        "--format", choices=input_formats(), default=AUTO, help="format of the input (default: auto, by file names)"
    )
    data.add_argument(
        "--label-field",
        default="",
        metavar="NAME",
        help="Parquet column, TFRecord feature or JSON field of the label (default: found by its name)",
    )
    data.add_argument(
        "--image-field",
        default="",
        metavar="NAME",
        help="Parquet column or TFRecord feature of the image (default: found by its name), or a database in an LMDB",
    )
    data.add_argument(
        "--key-field",
        default="",
        metavar="NAME",
        help="Parquet column or TFRecord feature of the records' names (default: found by its name)",
    )


def add_calibration_option(group: argparse._ArgumentGroup) -> None:
    """What the scores mean on a set."""
    group.add_argument(
        "--calibration",
        type=named,
        metavar="FILE",
        help="add percentile and predicted_fnmr by a file of fiqa calibrate (embedded or "
        "embedded-mixed: those of this package's network, on LFW and on its copy of mixed quality; default: none)",
    )


def add_heads_option(network: argparse._ArgumentGroup) -> None:
    """What the tensors of a checkpoint do not show."""
    network.add_argument(
        "--heads",
        type=positive,
        metavar="N",
        help="attention heads of a checkpoint's ViT (default: as its file or its size, vit_t, vit_s or vit_b, says)",
    )


def add_image_options(parser: Parser) -> None:
    """Which images are admitted, and what is noted about them."""
    images = parser.add_argument_group("images")
    images.add_argument(
        "--channel-order",
        choices=("rgb", "bgr-files"),
        default="rgb",
        help="bgr-files: for sets made by the original extraction scripts, whose files have red and blue swapped",
    )
    add_min_side(images)
    images.add_argument(
        "--measures",
        action="store_true",
        help="add columns that say why: light, sharpness, noise, resolution, colour ... (docs/measures.md)",
    )
    images.add_argument(
        "--phash",
        action="store_true",
        help="add the columns phash and thumb (1 KiB a row), by which near duplicates are found",
    )


def add_min_side(images: argparse._ArgumentGroup) -> None:
    """The smallest image that is admitted."""
    images.add_argument(
        "--min-side",
        type=positive,
        default=16,
        metavar="PIXELS",
        help="images with a shorter side are rejected as too_small",
    )


def add_speed_options(parser: Parser, batch_help: str) -> argparse._ArgumentGroup:
    """Device, batches and threads; the group, for options that only one command has."""
    speed = parser.add_argument_group("speed")
    speed.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="where the network runs; one that is not there is an error (default: auto, a GPU if there is one)",
    )
    speed.add_argument("--batch-size", type=positive, metavar="IMAGES", help=batch_help)
    speed.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads of the network in each process (default: the cores, divided among the worker processes)",
    )
    add_worker_options(
        speed,
        f"1, or one a GPU; on a GPU with about {MANY_IMAGES:,} images or more one a core, less one, since starting "
        "them takes some 20 s",
    )
    speed.add_argument(
        "--scoring-process",
        choices=("auto", "on", "off"),
        default="auto",
        help="one process a device holds the network and scores what the worker processes read (default: auto, on "
        "GPUs that several worker processes share; on: on a CPU too)",
    )
    return speed


def add_worker_options(speed: argparse._ArgumentGroup, default_workers: str) -> None:
    """Threads that decode, and processes."""
    speed.add_argument(
        "--decode-threads",
        type=positive,
        metavar="N",
        help="threads that decode images in each worker process (default: its share of the cores, at most 4)",
    )
    speed.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help=f"worker processes on this machine (default: {default_workers})",
    )


def add_running_options(parser: Parser) -> None:
    """Units, and what to do with an earlier run."""
    running = parser.add_argument_group("running")
    running.add_argument(
        "--unit-size",
        type=positive,
        metavar="RECORDS",
        help=f"records in a unit of work (default: {DEFAULT_UNIT_SIZE}, or that of the run that is resumed)",
    )
    add_again_options(running, "keep finished units of an earlier run, do the others")


def add_trial_options(parser: Parser) -> None:
    """A part of the dataset, or only a look at it."""
    trial = parser.add_argument_group("trying first")
    part = trial.add_mutually_exclusive_group()
    part.add_argument("--limit", type=positive, metavar="N", help="only the first N records (default: all)")
    part.add_argument(
        "--sample",
        type=positive,
        metavar="N",
        help="only N records from all shards, the same for the same --seed (default: all)",
    )
    trial.add_argument("--seed", type=whole, metavar="N", help="which records --sample takes (default: 0)")
    trial.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be read (units, records, labels, sizes of images); nothing is written",
    )


def sample_of(arguments: argparse.Namespace) -> Sample | None:
    """The part of the dataset that is asked for; None: the whole.

    Raises:
        OptionError: --seed without --sample.
    """
    if arguments.seed is not None and arguments.sample is None:
        raise OptionError("--seed says which records --sample takes, and there is no --sample")
    if arguments.limit is not None:
        return Sample("limit", arguments.limit)
    return None if arguments.sample is None else Sample("sample", arguments.sample, arguments.seed or 0)


def add_again_options(running: argparse._ArgumentGroup, resume: str) -> None:
    """`--resume` and `--overwrite`, of which one can be given."""
    again = running.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help=resume)
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run first")
