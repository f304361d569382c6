"""What the options of an ONNX network mean, completed from its file."""

import argparse
import logging

from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import read_onnx
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.wording import counted
from pipelines.cli import table_options
from pipelines.cli.errors import OptionError

ONLY_ONNX = ("layout", "size", "color", "mean", "std", "output", "batch")


def onnx_settings(arguments: argparse.Namespace, log: logging.Logger) -> ScoreSettings:
    """The settings of a run with an ONNX network, which is read, checked and described in the log.

    Raises:
        OptionError: options that are for checkpoints. OnnxError: a file that cannot be used.
    """
    if arguments.precision not in ("auto", "fp32"):
        raise OptionError(f"--precision {arguments.precision} is for checkpoints; an ONNX file has its own precision")
    if arguments.compile == "on":
        raise OptionError("--compile on is for checkpoints; onnxruntime runs an ONNX file as it is")
    if arguments.heads is not None:
        raise OptionError("--heads is for checkpoints; an ONNX file holds its whole network")
    given = {name: getattr(arguments, f"onnx_{name}") for name in ONLY_ONNX}
    chosen = {name: value for name, value in given.items() if value is not None}
    # On this machine's CPU, whatever the workers have: the same file gives the same description.
    file = read_onnx(arguments.model)
    network = OnnxNetwork(file, OnnxOptions(**chosen, kind=arguments.output_kind))
    found = network.input
    if arguments.flip and found.is_quality:
        raise OptionError(f"--flip is for embeddings, not for --output-kind {found.kind}")
    log.info(
        "network: ONNX, %s an image from output %r (%s), sha256 %s",
        counted(network.dim, "number"),
        found.output,
        found.kind,
        file.sha256[:16],
    )
    log.info(
        "fed with: %s, %s, %dx%d pixels, (x - %s) / %s, %s a call%s",
        found.layout,
        found.color.upper(),
        found.size,
        found.size,
        _numbers(found.mean),
        _numbers(found.std),
        counted(found.batch, "image") if found.batch else "any number of images",
        _assumed(chosen),
    )
    is_quality = found.is_quality
    return ScoreSettings(
        "onnx",
        found.kind,
        file.sha256,
        0 if is_quality else network.dim * (1 + arguments.flip),
        channel_order=arguments.channel_order,
        embeddings="none" if is_quality else arguments.embedding_type,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        flip=arguments.flip,
        onnx=found,
        phash=arguments.phash,
        measures=arguments.measures,
    )


def _assumed(chosen: dict[str, object]) -> str:
    """The settings that are neither in the file nor given, as a text for the log."""
    names = [f"--onnx-{name}" for name in ("color", "mean", "std") if name not in chosen]
    return f" ({', '.join(names)}: our default, not in the file; check it)" if names else ""


def refuse_onnx_options(arguments: argparse.Namespace) -> None:
    """Refuse options of ONNX networks where the network is a checkpoint.

    Raises:
        OptionError: it names them.
    """
    given = [f"--onnx-{name}" for name in ONLY_ONNX if getattr(arguments, f"onnx_{name}") is not None]
    given += [] if arguments.output_kind == "embedding" else [f"--output-kind {arguments.output_kind}"]
    if given:
        raise OptionError(
            f"{', '.join(given)}: for ONNX networks, and --model {arguments.model} is read as a checkpoint (its name "
            "does not end in .onnx)"
        )


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
