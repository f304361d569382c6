"""Beam's own options: known or refused, and the runner choices that keep every row."""

import argparse
import difflib
import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions, StandardOptions

_log = logging.getLogger(__name__)

_LOCAL = {"DirectRunner", "FnApiRunner", "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}
_ALIASES = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
_FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


class OptionError(ValueError):
    """An option that is unknown, or that would lose data."""


def beam_options(arguments: Sequence[str], own_options: Sequence[str]) -> PipelineOptions:
    """Beam's options from what our own parser left over.

    `DirectRunner` becomes Beam's FnApiRunner: the newer default first tries to download a binary.

    Raises:
        OptionError: an option that neither we nor Beam know, or a mode that loses rows.
    """
    if any("DaskRunner" in argument for argument in arguments):
        _import_dask_runner()
    _refuse_unknown(arguments, own_options)
    options = PipelineOptions(list(arguments))
    standard = options.view_as(StandardOptions)
    runner = standard.runner or "DirectRunner"
    if runner in _LOCAL:
        if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
            raise OptionError(
                "--direct_running_mode multi_threading: Beam loses rows in this mode (measured, apache-beam 2.77). "
                "Use in_memory, or multi_processing with --direct_num_workers N."
            )
        if runner == "DirectRunner":
            _log.info("runner: DirectRunner, run by Beam's FnApiRunner (in this process, nothing is downloaded)")
        runner = _FN_API_RUNNER
    standard.runner = _ALIASES.get(runner, runner)
    options.view_as(SetupOptions).save_main_session = False
    return options


def is_local(options: PipelineOptions) -> bool:
    """Whether the workers are on this machine and see its devices."""
    return bool(options.view_as(StandardOptions).runner == _FN_API_RUNNER)


def is_in_process(options: PipelineOptions) -> bool:
    """Whether driver and workers are this one process."""
    return is_local(options) and options.view_as(DirectOptions).direct_running_mode != "multi_processing"


def worker_processes(options: PipelineOptions) -> int:
    """Number of worker processes of a local run (1 unless multi_processing)."""
    direct = options.view_as(DirectOptions)
    if not is_local(options) or direct.direct_running_mode != "multi_processing":
        return 1
    return int(direct.direct_num_workers) or os.cpu_count() or 1


def _import_dask_runner() -> None:
    """Its options are known to Beam only once its module is imported."""
    try:
        importlib.import_module("apache_beam.runners.dask.dask_runner")
        importlib.import_module("dask.distributed")
    except ImportError as error:
        raise OptionError(f"DaskRunner needs dask ({error}): pip install 'fiqa-pipelines[dask]'") from error


def _refuse_unknown(arguments: Sequence[str], own_options: Sequence[str]) -> None:
    parser = _every_beam_option()
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        known = [*own_options, *parser._option_string_actions]
        close = difflib.get_close_matches(unknown[0].partition("=")[0], known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise OptionError(f"unknown option {unknown[0]}.{hint} See --help; options of Beam's runners are known too.")


def _every_beam_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    parser.exit_on_error = False

    def add(kind: Any) -> None:
        for child in kind.__subclasses__():
            if "_add_argparse_args" in vars(child):
                child._add_argparse_args(_Lenient(parser))
            add(child)

    add(PipelineOptions)
    return parser


class _Lenient:
    """Beam's option classes add to a parser of Beam's own kind; only `add_argument` matters here."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add_argument(self, *names: str, **settings: Any) -> None:
        settings.pop("required", None)
        self._parser.add_argument(*names, **settings)

    add_value_provider_argument = add_argument

    def add_argument_group(self, *_: Any, **__: Any) -> "_Lenient":
        return self

    add_mutually_exclusive_group = add_argument_group
