"""Score every image of a sharded face dataset: shards -> Parquet quality table."""

import argparse
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.networks.checkpoints import load_checkpoint, require_quality
from fiqa_core.scoring import run as scoring_run
from fiqa_core.scoring.devices import resolve_device
from fiqa_core.scoring.output_lock import hold_output
from fiqa_core.scoring.progress import read_progress
from fiqa_core.scoring.scorer import PRECISIONS
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import FORMATS, Plan, plan_dataset
from fiqa_core.shards.unit import MAX_STORED_BYTES, ReadSettings
from pipelines import dataflow, dataflow_job
from pipelines.progress import ProgressMonitor
from pipelines.runners import JobError, OptionError, beam_options, is_in_process, is_local, run_job, worker_processes
from transforms.score import CheckpointScorer, ScoreDataset, ScorerSource

_log = logging.getLogger("score_dataset")
DEFAULT_UNIT_SIZE = 4000
_MOST_DECODE_THREADS = 4

NOTHING_NOW = {"records_this_run": 0, "images_per_second": 0}

EXIT_OK, EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 2, 3, 130

_NO_CHECKPOINT = """--checkpoint is needed: no network comes with this package yet.
The official ViT-FIQA weights (ICCV Workshops 2025, arXiv 2508.13957) are linked from the authors' repository;
download the folder with `model.pt` and give it as --checkpoint. Their licence is CC BY-NC 4.0: research, no
commercial use. CR-FIQA weights (iresnet50, iresnet100) load too, under the same kind of licence."""


def run(argv: Sequence[str] | None = None, scorer_source: ScorerSource | None = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        scorer_source: instead of a network from --checkpoint (benchmarks use a no-op).
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # It logs the trace of whatever ends a job; the error itself comes back, and its reason is said once.
    logging.getLogger("apache_beam.runners.worker.sdk_worker").setLevel(logging.CRITICAL)
    logging.getLogger("fsspec").setLevel(logging.WARNING)  # it tells of every remote file that is opened
    try:
        options = beam_options(rest, list(parser._option_string_actions), arguments.device)
        return _run(arguments, options, scorer_source)
    except (ValueError, OSError, RuntimeError) as error:
        _log.error("%s", error)
        if isinstance(error, JobError):
            _log.error("finished units are kept; run again with --resume")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        kept = "interrupted; finished units are kept: run the same command with --resume"
        _log.error("%s", str(interrupt) or kept)
        return EXIT_INTERRUPTED


def _run(arguments: argparse.Namespace, options: PipelineOptions, source: ScorerSource | None) -> int:
    if arguments.checkpoint is None and source is None:
        raise OptionError(_NO_CHECKPOINT)
    places = {"--input": arguments.input, "--output": [arguments.output]}
    if arguments.checkpoint is not None:
        places["--checkpoint"] = [arguments.checkpoint]
    workers = dataflow.prepare(options, arguments.gpu, arguments.device, arguments.no_wait, places)
    if is_local(options):
        resolve_device(arguments.device)
    if not is_in_process(options):
        _refuse_memory([*arguments.input, arguments.output, arguments.checkpoint or ""])
    settings = _settings(arguments, source)
    if source is None:
        threads = arguments.threads or workers.threads or _threads(options)
        checkpoint = storage.absolute(arguments.checkpoint)
        source = CheckpointScorer(checkpoint, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    output = storage.absolute(arguments.output)
    decode_threads = arguments.decode_threads or _decode_threads(options)
    scoring = functools.partial(
        ScoreDataset, source, settings, output, decode_threads=decode_threads, hints=workers.hints
    )
    if dataflow.is_dry_run(options):
        return _dry_run(arguments, options, scoring)
    with hold_output(output):
        return _run_on(output, arguments, options, settings, scoring)


def _run_on(
    output: str,
    arguments: argparse.Namespace,
    options: PipelineOptions,
    settings: ScoreSettings,
    scoring: Callable[..., ScoreDataset],
) -> int:
    earlier_unit_size = scoring_run.prepare_output(output, arguments.resume, arguments.overwrite)
    unit_size = arguments.unit_size or earlier_unit_size or DEFAULT_UNIT_SIZE
    plan = plan_dataset(arguments.input, arguments.format, unit_size, storage.join(output, "plan"), settings.read)
    _log_plan(plan)
    finished = scoring_run.begin(output, arguments.input, unit_size, settings, plan, arguments.overwrite)
    if finished is not None:
        _log.info("the run in %s is complete already: nothing to do", arguments.output)
        _closing_words(arguments.output, finished | NOTHING_NOW, scoring_run.Account(True, ()))
        return EXIT_OK
    pipeline = _pipeline(options, plan, scoring)
    if dataflow.is_dataflow(options):
        if not dataflow_job.run_job(pipeline, options, plan, wait=not arguments.no_wait):
            return EXIT_OK
    else:
        with ProgressMonitor(functools.partial(read_progress, output), plan):
            run_job(pipeline)
    summary, account = scoring_run.close_account(output, plan.units, settings)
    _closing_words(arguments.output, summary, account)
    return EXIT_OK if account.complete else EXIT_INCOMPLETE


def _pipeline(options: PipelineOptions, plan: Plan, scoring: Callable[..., ScoreDataset]) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=options)
    units = pipeline | "Units" >> beam.Create(plan.units)
    _ = units | "ScoreDataset" >> scoring(planned=len(plan.units))
    return pipeline


def _dry_run(arguments: argparse.Namespace, options: PipelineOptions, scoring: Callable[..., ScoreDataset]) -> int:
    """Plan and translate as for a real run; what a plan must write down goes to a folder that is removed."""
    with tempfile.TemporaryDirectory() as workspace:
        plan = plan_dataset(arguments.input, arguments.format, arguments.unit_size or DEFAULT_UNIT_SIZE, workspace)
        _log_plan(plan)
        dataflow_job.run_job(_pipeline(options, plan, scoring), options, plan, wait=False)
    return EXIT_OK


def _refuse_memory(uris: Sequence[str]) -> None:
    for uri in uris:
        if "://" in uri and storage.in_this_process_only(uri):
            raise OptionError(
                f"{uri}: memory:// is seen by one process only, and this runner has several. Use "
                "--direct_running_mode in_memory, or a place that all of them reach."
            )


def _settings(arguments: argparse.Namespace, source: ScorerSource | None) -> ScoreSettings:
    read = ReadSettings(arguments.label_field, arguments.image_field, MAX_STORED_BYTES)
    choices = {
        "precision": arguments.precision,
        "channel_order": arguments.channel_order,
        "embeddings": arguments.embeddings,
        "min_side": arguments.min_side,
        "read": read,
    }
    if source is not None:
        return ScoreSettings(getattr(source, "name", "none"), "none", "0" * 64, **choices)
    embeddings = arguments.embeddings != "none"
    loaded = load_checkpoint(arguments.checkpoint, arguments.arch, arguments.mode, embeddings)
    require_quality(loaded)
    _log.info("network: %s, mode %s, sha256 %s", loaded.arch, loaded.mode, loaded.sha256[:16])
    dim = loaded.embedding_dim if embeddings else 0
    return ScoreSettings(loaded.arch, loaded.mode, loaded.sha256, dim, **choices)


def _threads(options: PipelineOptions) -> int:
    """Torch threads a worker process: the cores are shared out among the processes."""
    processes = worker_processes(options)
    return max(1, (os.cpu_count() or 1) // processes) if processes > 1 else 0


def _decode_threads(options: PipelineOptions) -> int:
    """Threads that decode in each worker process: more than a few only wait for each other's interpreter lock."""
    if not is_local(options):
        return _MOST_DECODE_THREADS
    return max(1, min(_MOST_DECODE_THREADS, (os.cpu_count() or 1) // worker_processes(options)))


def _log_plan(plan: Plan) -> None:
    counted = f"{plan.records:,} records" if plan.records is not None else "records known once read"
    _log.info("planned %d units, %s", len(plan.units), counted)


def _closing_words(output: str, summary: dict[str, Any], account: scoring_run.Account) -> None:
    lines = [f"{summary['records']:,} records in {summary['units']} units:"]
    lines += [f"  {name:<18}{count:>12,}" for name, count in summary["status"].items()]
    if "quantiles" in summary["quality"]:
        quantiles = summary["quality"]["quantiles"]
        shown = ", ".join(
            f"{int(float(q) * 100)} %: {quantiles[q]:.4g}" for q in ("0.05", "0.25", "0.5", "0.75", "0.95")
        )
        lines.append(f"quality (higher = more useful): {shown}")
    lines.append(f"{summary['records_this_run']:,} records this run, {summary['images_per_second']} images/s")
    for problem in account.problems:
        lines.append(f"PROBLEM: {problem}")
    quality = storage.join(output, "quality")
    if account.complete and not summary["records"]:
        lines.append("the input holds no records: the table is empty. Check --input (and --format).")
    elif account.complete:
        lines.append(
            f"next: python -c \"import pandas as pd; print(pd.read_parquet('{quality}').sort_values('quality'))\""
        )
    else:
        lines.append("next: mend what is named above and run the same command with --resume")
    print("\n".join(lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.score_dataset",
        description="Score every image of a sharded face dataset with ViT-FIQA; write a Parquet quality table.",
        epilog="Beam's own options are passed on: --runner, --direct_running_mode, --direct_num_workers, "
        "--project, --region, --temp_location ... Exit code: 0 every record is accounted for; 2 bad input or "
        "option, or the run broke off; 3 finished with units or shards that could not be read; 130 interrupted "
        "(a Dataflow job goes on). With --no-wait, 0: submitted.",
        allow_abbrev=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--input", nargs="+", required=True, metavar="URI", help="shards, folders, globs; any fsspec URI")
    data.add_argument("--output", required=True, metavar="URI", help="folder for the table; must be empty or not exist")
    data.add_argument("--format", choices=FORMATS, default="auto", help="what the input is (auto: by file names)")
    data.add_argument("--label-field", default="", metavar="NAME", help="Parquet column or JSON field of the label")
    data.add_argument("--image-field", default="", metavar="NAME", help="Parquet column of the image")
    network = parser.add_argument_group("network")
    network.add_argument("--checkpoint", metavar="URI", help="model.pt, .pth, .safetensors, or a folder with one")
    network.add_argument(
        "--arch", metavar="NAME", help="vit_s, vit_t, vit_b, iresnet50, iresnet100 (default: recognised)"
    )
    network.add_argument("--mode", choices=("token", "full", "crfiqa"), help="(default: recognised)")
    network.add_argument("--embeddings", choices=("none", "float16", "float32"), default="none")
    images = parser.add_argument_group("images")
    images.add_argument(
        "--channel-order",
        choices=("rgb", "bgr-files"),
        default="rgb",
        help="bgr-files: sets made by the original extraction scripts, whose red and blue are swapped in the files",
    )
    images.add_argument("--min-side", type=_positive, default=16, metavar="PIXELS", help="smaller images are too_small")
    speed = parser.add_argument_group("speed")
    speed.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help="missing device = error")
    speed.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="(default fp32; int8 is for ViT networks on a CPU)"
    )
    speed.add_argument("--batch-size", type=_positive, metavar="N", help="images a forward pass (8 CPU, 256 GPU)")
    speed.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of the network, each process")
    speed.add_argument(
        "--decode-threads", type=_positive, metavar="N", help="beside the network (default: cores a worker, at most 4)"
    )
    dataflow.add_arguments(parser)
    running = parser.add_argument_group("running")
    running.add_argument(
        "--unit-size", type=_positive, metavar="N", help=f"records a unit (default {DEFAULT_UNIT_SIZE})"
    )
    again = running.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="keep finished units of an earlier run, do the others")
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run first")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run())
