"""`--exit` and `--fuse`: after which block of a ViT its score is read, as a number or found on a sample."""

import argparse
import re
from dataclasses import dataclass

from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.networks.exits import FUSES
from fiqa_core.settings.checks import fraction
from fiqa_core.settings.fields import replaced
from pipelines.cli.command import named
from pipelines.cli.errors import OptionError
from pipelines.cli.setting_options import from_text

_AUTO = "auto:"


@dataclass(frozen=True)
class AutoExit:
    """The earliest exit is wanted whose decisions agree with the full network's for this share of a sample."""

    share: float


def add_exit_options(network: argparse._ArgumentGroup) -> None:
    """Which block's score is used, and what `auto` goes by."""
    network.add_argument(
        "--exit",
        type=_exit,
        metavar="N|auto:SHARE",
        help="read a ViT's score after block N (default: the last), which takes N blocks' time; auto:0.99: the "
        "earliest block whose decisions under --policy or --drop-worst are the last block's for that share of a sample",
    )
    network.add_argument(
        "--fuse",
        choices=FUSES,
        default="none",
        help="average a ViT's scores after all blocks, each alike or by depth (default: none)",
    )
    network.add_argument(
        "--policy", type=named, metavar="FILE", help="policy that --exit auto:SHARE goes by (default: none)"
    )
    network.add_argument(
        "--drop-worst",
        type=from_text(fraction),
        metavar="SHARE",
        help="share dropped that --exit auto:SHARE goes by (default: none)",
    )


def add_fixed_exit_options(network: argparse._ArgumentGroup) -> None:
    """Which block's score is used, where no images are at hand to find it."""
    network.add_argument(
        "--exit", type=_block, metavar="N", help="read a ViT's score after block N (default: the last)"
    )
    network.add_argument(
        "--fuse",
        choices=FUSES,
        default="none",
        help="average a ViT's scores after all blocks, each alike or by depth (default: none)",
    )


def exit_policy(arguments: argparse.Namespace) -> Policy | None:
    """The policy that `--exit auto:SHARE` goes by; None where the exit is not to be found.

    Raises:
        OptionError: options that do not go together. SettingError: the policy file is not valid.
    """
    given = [name for name in ("policy", "drop_worst") if getattr(arguments, name) is not None]
    if arguments.exit is not None and arguments.fuse != "none":
        raise OptionError("--exit reads one block and --fuse reads all of them; give only one of the two")
    if not isinstance(arguments.exit, AutoExit):
        if given:
            option = given[0].replace("_", "-")
            raise OptionError(
                f"--{option} says what --exit auto:SHARE goes by, and there is none. Rows are dropped afterwards, by "
                "the filter."
            )
        return None
    if not given:
        raise OptionError("--exit auto:SHARE compares decisions: say by which policy, with --policy or --drop-worst")
    if arguments.calibration is not None:
        raise OptionError("--calibration is of one exit's scores, and --exit auto:SHARE finds it later: name the exit")
    policy = read_policy(arguments.policy) if arguments.policy is not None else Policy()
    if arguments.drop_worst is not None:
        policy = replaced(policy, {"quality": {"drop_fraction": arguments.drop_worst}})
    return policy


def _exit(text: str) -> "int | AutoExit":
    if text.startswith(_AUTO):
        try:
            share = float(text.removeprefix(_AUTO))
        except ValueError:
            share = 0.0
        if 0.5 < share <= 1:
            return AutoExit(share)
        raise argparse.ArgumentTypeError(f"expected auto:SHARE with a share of more than 0.5 up to 1, found {text!r}")
    return _block(text, ", or auto:SHARE")


def _block(text: str, others: str = "") -> int:
    if re.fullmatch(r"0*[1-9][0-9]{0,3}", text, re.ASCII):
        return int(text)
    raise argparse.ArgumentTypeError(f"expected the number of a block from 1{others}, found {text!r}")
