"""`--network NAME`: the options of a known network, and the file that is used for it."""

import argparse
import logging

from fiqa_core import storage
from fiqa_core.networks.known import KnownNetwork, known_network, network_file, unexpected_file
from pipelines.cli.errors import OptionError
from pipelines.jobs.onnx_settings import ONLY_ONNX

_log = logging.getLogger(__name__)


def take_network(arguments: argparse.Namespace) -> str | None:
    """Complete the options by those of the named network; options that were given stay. Returns its name, if any.

    Raises:
        UnknownNetworkError: the name is not known, or the file is not there. OptionError: a file of another kind.
    """
    name: str | None = arguments.network
    if name is None:
        return None
    network = known_network(name)
    if arguments.model is None:
        arguments.model = str(network_file(name))
    is_onnx = storage.without_query(arguments.model).lower().endswith(".onnx")
    if is_onnx != (network.onnx is not None):
        expected = "a checkpoint" if network.onnx is None else "an ONNX file"
        raise OptionError(f"--network {name} is {expected}, and --model {arguments.model} is not")
    _log.info("network %s: %s; licence of its weights: %s; %s", name, network.summary, network.licence, arguments.model)
    if network.onnx is not None:
        _take_onnx_options(arguments, network)
    return name


def _take_onnx_options(arguments: argparse.Namespace, network: KnownNetwork) -> None:
    for option in ONLY_ONNX:
        if getattr(arguments, f"onnx_{option}", None) is None:
            setattr(arguments, f"onnx_{option}", getattr(network.onnx, option))
    arguments.output_kind = network.gives


def warn_of_file(name: str | None, sha256: str) -> None:
    """Say where the file is not the known one."""
    warning = None if name is None else unexpected_file(name, sha256)
    if warning is not None:
        _log.warning("%s", warning)
