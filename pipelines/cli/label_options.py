"""Options that give labels by a file of their own."""

import argparse


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
