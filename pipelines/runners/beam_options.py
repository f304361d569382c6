"""Beam's own options: unknown ones are refused, and the runner is set up so that no row is lost."""

import argparse
import builtins
import difflib
import importlib
import logging
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineState

from fiqa_core import storage
from fiqa_core.extras import install_extra
from pipelines.cli.errors import JobError, OptionError
from pipelines.cli.faults import as_ours
from pipelines.cli.parser import Parser
from pipelines.runners import worker_watch
from pipelines.runners.known_options import refuse_unknown

_log = logging.getLogger(__name__)

_FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_DASK_RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"
_KNOWN = {name: name for name in StandardOptions.KNOWN_RUNNER_NAMES} | {
    "FnApiRunner": _FN_API_RUNNER,
    "DaskRunner": _DASK_RUNNER,
}
_LOCAL = {"DirectRunner", "SwitchingDirectRunner", _FN_API_RUNNER}
_CONNECT_S = 5.0
_IN_MEMORY = "--direct_running_mode in_memory"
_ERROR_LINE = re.compile(r"^(RuntimeError: )*(?P<text>[A-Za-z_][\w.]*(Error|Exception|Rejected|Worker|Rendezvous)\b.*)")


def command_options(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser) -> PipelineOptions:
    """Beam's options from what a command's parser left over; sets `arguments.processes_chosen`.

    Raises:
        OptionError: as `beam_options`.
    """
    arguments.processes_chosen = processes_chosen(rest, arguments.workers)
    return beam_options(rest, parser.proposals(), arguments.workers)


def beam_options(
    arguments: Sequence[str], proposals: Mapping[str, str] | None = None, workers: int | None = None
) -> PipelineOptions:
    """Beam's options from what our own parser left over.

    `DirectRunner` becomes Beam's FnApiRunner: the newer default first tries to download a binary.

    Args:
        arguments: options that our parser does not know. proposals: what to propose for a misspelt one of ours.
        workers: our own option for the number of local worker processes.

    Raises:
        OptionError: an option that neither we nor Beam know, or a mode that loses rows.
    """
    runner = _runner_name(arguments)
    if runner == _DASK_RUNNER:
        _import_dask_runner()
    refuse_unknown(arguments, proposals or {})
    options = PipelineOptions(list(arguments))
    if workers is not None:
        _set_workers(options, arguments, workers, runner)
    if runner in _LOCAL:
        _settle_local(options, arguments)
        worker_watch.install()
        if runner != _FN_API_RUNNER:
            _log.info("runner: DirectRunner, run by Beam's FnApiRunner (on this machine, nothing is downloaded)")
        runner = _FN_API_RUNNER
    elif runner == "PortableRunner":
        _check_portable(options)
    options.view_as(StandardOptions).runner = runner
    options.view_as(SetupOptions).save_main_session = False
    return options


def run_job(pipeline: beam.Pipeline) -> None:
    """Run a pipeline to its end.

    Raises:
        JobError: it failed, was cancelled, or the runner went away; with the reason, without the runner's traces.
            A bug in a worker comes back as the runner raises it, with its trace.
    """
    result = None
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        if is_bug(error):
            raise
        _log.debug("the runner's error", exc_info=True)
        raise JobError(f"the job failed: {reason(error)}") from error
    finally:
        # Dask's result holds a connection (or a whole local cluster) that nothing else closes.
        client = getattr(result, "client", None)
        if client is not None:
            client.close()
    if state not in (None, PipelineState.DONE):
        raise JobError(f"the job did not finish: its runner says {state}")


def _is_interrupt(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C that Beam raised again as an error of the step it came in."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return True
        cause = cause.__cause__ or cause.__context__
    return "KeyboardInterrupt" in str(error).rpartition("Traceback")[2]


def is_bug(error: BaseException) -> bool:
    """Whether a job ended by an unforeseen error, here or in a worker process.

    A worker's error comes back as text; Python's own kinds, but those of the system, are raised by no code on purpose.
    RuntimeError does not count: runners wrap every error in it.
    """
    if as_ours(error) is not None:
        return False
    kind = getattr(builtins, reason(error).partition(":")[0].strip(), None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return False
    return not issubclass(kind, OSError | MemoryError | ImportError | RuntimeError)


def reason(error: BaseException) -> str:
    """What went wrong, taken from an error that a runner wrapped in the traces of several processes."""
    lines = str(error).splitlines()
    found = [place for place, line in enumerate(lines) if _ERROR_LINE.match(line)]
    if not found:
        return f"{type(error).__name__}: {error}"
    match = _ERROR_LINE.match(lines[found[-1]])
    first = match["text"] if match else ""
    return "\n".join([first, *lines[found[-1] + 1 : found[-1] + 6]]).strip()


def is_local(options: PipelineOptions) -> bool:
    """Whether the workers are on this machine and see its devices."""
    return bool(options.view_as(StandardOptions).runner == _FN_API_RUNNER)


def is_in_process(options: PipelineOptions) -> bool:
    """Whether the command and its workers are one process."""
    return is_local(options) and options.view_as(DirectOptions).direct_running_mode != "multi_processing"


def in_this_process(uris: Iterable[str]) -> str | None:
    """The first of these places that other processes would not see (`memory://`)."""
    return next((uri for uri in uris if "://" in uri and storage.in_this_process_only(uri)), None)


def refuse_memory(uris: Iterable[str], whose: str = "this runner has several", instead: str = _IN_MEMORY) -> None:
    """Refuse places that other processes would not see.

    Args:
        uris: what they must open. whose, instead: which processes they are, and what keeps to one, for the message.

    Raises:
        OptionError: it names the first.
    """
    uri = in_this_process(uris)
    if uri is not None:
        raise OptionError(
            f"{uri}: memory:// is seen by one process only, and {whose}. Use {instead}, or a place that all of them "
            "reach."
        )


def worker_processes(options: PipelineOptions) -> int:
    """Number of worker processes of a local run (1 unless multi_processing)."""
    direct = options.view_as(DirectOptions)
    if not is_local(options) or direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers) or os.cpu_count() or 1


def _runner_name(arguments: Sequence[str]) -> str:
    """The runner by the name that Beam needs; upper or lower case and a missing `Runner` do not matter."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default="DirectRunner")
    named = str(parser.parse_known_args(list(arguments))[0].runner)
    if "." in named:
        return named
    by_name = {name.lower(): full for name, full in _KNOWN.items()}
    found: str | None = by_name.get(named.lower()) or by_name.get(f"{named.lower()}runner")
    if found is None:
        close = difflib.get_close_matches(named, list(_KNOWN), 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise OptionError(f"--runner {named}: not a runner of Beam.{hint} Known: {', '.join(sorted(_KNOWN))}.")
    return found


def _set_workers(options: PipelineOptions, arguments: Sequence[str], workers: int, runner: str) -> None:
    """Set Beam's options from our `--workers N`."""
    own = next((o for o in ("--direct_num_workers", "--direct_running_mode") if _given(arguments, o)), None)
    if own:
        raise OptionError(f"--workers {workers} and Beam's {own} mean the same thing: leave one of them out")
    if runner not in _LOCAL:
        raise OptionError(
            f"--workers {workers} is for runs on this machine (DirectRunner); {runner.rpartition('.')[2]} has its own "
            "options: --dask_npartitions, --sdk_worker_parallelism, --num_workers (docs/runners.md)"
        )
    set_local_processes(options, workers)


def set_local_processes(options: PipelineOptions, count: int) -> None:
    """Run a local job in `count` worker processes; 1 = in this process."""
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = count
    direct.direct_running_mode = "multi_processing" if count > 1 else "in_memory"


def processes_chosen(arguments: Sequence[str], workers: int | None) -> bool:
    """Whether the user chose the number of worker processes, by our option or by Beam's."""
    return workers is not None or any(_given(arguments, f"--direct_{o}") for o in ("num_workers", "running_mode"))


def _settle_local(options: PipelineOptions, arguments: Sequence[str]) -> None:
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise OptionError(
            "--direct_running_mode multi_threading: Beam loses rows in this mode (measured, apache-beam 2.77). "
            "Use in_memory, or multi_processing with --direct_num_workers N."
        )
    if int(direct.direct_num_workers) != 1 and direct.direct_running_mode == "in_memory":
        if _given(arguments, "--direct_running_mode"):
            raise OptionError(
                f"--direct_num_workers {direct.direct_num_workers} has no effect with --direct_running_mode "
                "in_memory, which is one process. Use multi_processing, or leave one of them out."
            )
        direct.direct_running_mode = "multi_processing"


def _check_portable(options: PipelineOptions) -> None:
    """Refuse early what Beam notices only after minutes, or reports as something else."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not endpoint:
        raise OptionError(
            "--runner PortableRunner needs --job_endpoint HOST:PORT of a job service, or `--job_endpoint embed` "
            "for one in this process (docs/runners.md)"
        )
    if endpoint == "embed":
        return
    host, _, port = str(endpoint).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise OptionError(f"--job_endpoint {endpoint}: no job service answers there ({error})") from error


def _given(arguments: Sequence[str], option: str) -> bool:
    return any(argument.partition("=")[0] == option for argument in arguments)


def _import_dask_runner() -> None:
    """Import the runner's module: only then does Beam know its options."""
    try:
        importlib.import_module("apache_beam.runners.dask.dask_runner")
        importlib.import_module("dask.distributed")
    except ImportError as error:
        raise OptionError(f"DaskRunner needs dask ({error}): {install_extra('dask')}") from error
