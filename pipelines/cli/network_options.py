"""The one name of each thing that score_dataset and embed_dataset ask about a network, and the names it had."""

import argparse
from collections.abc import Sequence

from pipelines.cli.command import named

# Old spelling -> new spelling, for one release.
RENAMED = {"--checkpoint": "--model", "--embeddings": "--embedding-type"}


def add_model_option(network: argparse._ArgumentGroup, text: str, required: bool) -> None:
    """The network's file."""
    network.add_argument("--model", type=named, required=required, metavar="URI", help=text)


def add_network_option(network: argparse._ArgumentGroup) -> None:
    """A network by name."""
    network.add_argument(
        "--network",
        metavar="NAME",
        help="a known network (fiqa networks lists them): sets what it is fed with; its file is taken from --model, "
        "the folder of networks or an installed package (default: none, the file of --model is all)",
    )


def add_checkpoint_options(network: argparse._ArgumentGroup, architectures: str, modes: Sequence[str]) -> None:
    """What a checkpoint holds, where its tensors do not show it."""
    network.add_argument(
        "--arch", metavar="NAME", help=f"architecture of a checkpoint: {architectures} (default: recognised)"
    )
    network.add_argument("--mode", choices=modes, help="what a checkpoint's score comes from (default: recognised)")


def add_embedding_type(network: argparse._ArgumentGroup, types: Sequence[str], default: str, text: str) -> None:
    """The numbers that embeddings are stored as."""
    network.add_argument("--embedding-type", choices=types, default=default, help=text)
