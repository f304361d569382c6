"""Verdicts on a row's label from its face recognition embedding. Poor quality is not taken for a wrong label."""

from enum import StrEnum


class LabelVerdict(StrEnum):
    """Value of the decisions table's `label_verdict` column."""

    AGREES = "agrees"
    WRONG_LABEL = "wrong_label"
    LOW_QUALITY = "low_quality"
    UNSURE = "unsure"


VERDICTS: dict[LabelVerdict, str] = {
    LabelVerdict.AGREES: "The embedding lies where those of its identity do.",
    LabelVerdict.WRONG_LABEL: "The embedding is far from its identity, and the image is good enough to believe it.",
    LabelVerdict.LOW_QUALITY: "The embedding is far from its identity, but so poor an image says nothing of the label.",
    LabelVerdict.UNSURE: "The identity has too few images, or too mixed ones, to judge by.",
}
