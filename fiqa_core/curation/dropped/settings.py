"""Dropped images: where they and what is known of them lie, and the tasks that write them."""

from dataclasses import dataclass

from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import join

DROPPED = "dropped"
DROPPED_INDEX = "dropped_index"
PLAN, REPORT, REPEATED = "plan.json", "summary.json", "repeated_names.npy"
NAMES = "names"


@dataclass(frozen=True)
class DroppedTask:
    """The dropped rows of one decisions file, and the unit that has their images; small, picklable, without images.

    Attributes:
        number: of the decisions file. decisions: its URL. rows: dropped rows that have an image.
        read: how the images are read. plan: digest of the whole plan.
    """

    number: int
    decisions: str
    unit: Unit
    rows: int
    read: ReadSettings
    plan: str


def index_place(output: str, *parts: str) -> str:
    """URL of a file of the index."""
    return join(output, DROPPED_INDEX, *parts)


def index_name(number: int) -> str:
    """Name of the index file of a decisions file."""
    return f"part-{number:06d}.parquet"
