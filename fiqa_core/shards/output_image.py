"""What a writer of shards is given: an image, and what the table says of it."""

from collections.abc import Mapping
from typing import NamedTuple


class OutputImage(NamedTuple):
    """One image on its way into a shard.

    Attributes:
        position: place in the whole output, from 0. key, label: as in the decisions table.
        number: dense label, None if labels are kept as they are (or there is none).
        data: the stored bytes, unchanged. others: further files of a WebDataset sample, by suffix.
        quality: higher = more useful. weight: in [0, 1]. tier: A to E.
    """

    position: int
    key: str
    label: str | None
    number: int | None
    data: bytes
    others: Mapping[str, bytes]
    quality: float | None
    tier: str | None
    weight: float

    @property
    def label_text(self) -> str | None:
        """The label as the output has it."""
        return self.label if self.number is None else str(self.number)
