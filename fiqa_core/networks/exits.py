"""Exits of a ViT: after which block, or blocks, its score is read.

Exit i is the network's own final LayerNorm and its own quality head, applied to the state after block i. No tensor is
added or trained. Source of the idea: EX-FIQA, arXiv 2604.22842. How deeper blocks are weighted in `depth` is ours: by
the number of the block.
"""

from dataclasses import dataclass
from typing import Literal

from fiqa_core.errors import FiqaError

Fuse = Literal["none", "mean", "depth"]
FUSES: tuple[Fuse, ...] = ("none", "mean", "depth")


class ExitError(FiqaError, ValueError):
    """An exit or a fusion that this network does not have; the message says which it has."""


@dataclass(frozen=True)
class Exits:
    """Where the score is read.

    Attributes:
        exit: the number of a block, from 1; 0 is the last block, which gives the ordinary score.
        fuse: `none`, or an average over the scores after every block: `mean`, each block alike; `depth`, block i with
            weight i.

    Raises:
        ExitError: both are asked for, or one is not known.
    """

    exit: int = 0
    fuse: Fuse = "none"

    def __post_init__(self) -> None:
        if self.fuse not in FUSES:
            raise ExitError(f"fuse is {self.fuse!r}; expected one of {', '.join(FUSES)}")
        if isinstance(self.exit, bool) or not isinstance(self.exit, int) or self.exit < 0:
            raise ExitError(f"exit is {self.exit!r}; expected the number of a block, from 1 (0 is the last one)")
        if self.exit and self.fuse != "none":
            raise ExitError(
                f"exit {self.exit} reads one block and fuse {self.fuse!r} reads all of them; give only one of the two"
            )

    @property
    def is_last(self) -> bool:
        """Whether this is the ordinary score."""
        return self == LAST

    def weights(self, depth: int) -> dict[int, float]:
        """The blocks that are read, by number from 1, and the weight of each; the weights add up to 1.

        Raises:
            ExitError: the network of `depth` blocks has no such block.
        """
        if self.fuse == "mean":
            return dict.fromkeys(range(1, depth + 1), 1 / depth)
        if self.fuse == "depth":
            total = depth * (depth + 1) // 2
            return {block: block / total for block in range(1, depth + 1)}
        if self.exit > depth:
            raise ExitError(f"exit {self.exit}: this network has {depth} blocks; expected 1 to {depth}")
        return {self.exit or depth: 1.0}


LAST = Exits()


def normal(exits: Exits, depth: int) -> Exits:
    """The same exits under one name: the number of the last block is the ordinary score.

    Raises:
        ExitError: the network of `depth` blocks has no such block.
    """
    exits.weights(depth)
    return LAST if exits.exit == depth else exits


def mode_read_at(mode: str, exit_: int, fuse: str) -> str:
    """A network's mode and where its scores are read: two exits' scores are as unlike as two networks'."""
    if fuse != "none":
        return f"{mode}, fuse {fuse}"
    return f"{mode}, exit {exit_}" if exit_ else mode
