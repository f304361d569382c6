"""Options that give labels or groups by a file of their own."""

import argparse
from typing import Any


def add_labels_columns(group: argparse._ArgumentGroup) -> None:
    """Which columns of the file of --labels are meant."""
    group.add_argument(
        "--labels-key",
        default="",
        metavar="COLUMN",
        help="column of the keys in the file of --labels (default: found by its name)",
    )
    group.add_argument(
        "--labels-column",
        default="",
        metavar="COLUMN",
        help="column of the labels in the file of --labels (default: found by its name)",
    )


def add_group_options(
    group: argparse._ArgumentGroup,
    several: bool = False,
    says: str = "what each group loses, or how often it is refused",
) -> None:
    """Which group each image belongs to; `several`: one for each of several datasets. `says`: what it is for."""
    named: dict[str, Any] = {"nargs": "+", "default": []} if several else {}
    group.add_argument(
        "--group-by",
        metavar="COLUMN|FILE",
        help=f"say {says}: a column of the quality table, or a CSV or "
        "Parquet file with a key and a group a row (default: none)",
        **named,
    )
    group.add_argument(
        "--group-key",
        default="",
        metavar="COLUMN",
        help="column of the keys in the file of --group-by (default: found by its name)",
    )
    group.add_argument("--group-column", default="group", metavar="COLUMN", help="column of the groups in that file")
