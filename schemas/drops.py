"""Why a row is not kept: one code per row, in the order in which the rules are evaluated."""

from enum import StrEnum


class Drop(StrEnum):
    """Value of the decisions table's `reason` column; null where the row is kept.

    The members' order is the order of evaluation: a row has the code of the first rule that drops it, and a rule
    sees only the rows that every rule before it has kept.
    """

    # What a person decided (--review).
    REVIEWED_DROP = "reviewed_drop"

    NOT_READ = "not_read"
    NOT_SCORED = "not_scored"
    NO_LABEL = "no_label"

    # What is wrong with the row, whatever its quality.
    WRONG_LABEL = "wrong_label"
    OVERLAP_EXACT = "overlap_exact"
    OVERLAP_NEAR = "overlap_near"
    DUPLICATE_EXACT = "duplicate_exact"
    DUPLICATE_NEAR = "duplicate_near"

    # Quality. `keep_at_least` protects the best rows of each identity against these. Before them come the rules that
    # look at one row alone, such as `below_threshold`: each is one field in fiqa_core/curation/decisions/policy.py.
    BELOW_GLOBAL_QUANTILE = "below_global_quantile"
    BELOW_IDENTITY_QUANTILE = "below_identity_quantile"

    # Size.
    OVER_IDENTITY_BEST = "over_identity_best"
    OVER_IDENTITY_CAP = "over_identity_cap"
    OVER_TARGET_SIZE = "over_target_size"
    IDENTITY_TOO_SMALL = "identity_too_small"


DROPS: dict[Drop, str] = {
    Drop.REVIEWED_DROP: "A person decided that the image goes (--review).",
    Drop.NOT_READ: "The row stands for a part of a shard that was not read; how many records it holds is not known.",
    Drop.NOT_SCORED: "The row has no score; its `status` says why.",
    Drop.NO_LABEL: "The row has no label, and the policy wants one.",
    Drop.WRONG_LABEL: "The embedding does not belong to the identity that the label names.",
    Drop.OVERLAP_EXACT: "The same stored bytes are in a dataset given as --against.",
    Drop.OVERLAP_NEAR: "Nearly the same picture is in a dataset given as --against.",
    Drop.DUPLICATE_EXACT: "The same stored bytes are in another row, which is kept (`duplicate_of`).",
    Drop.DUPLICATE_NEAR: "Nearly the same picture is in another row, of better quality, which is kept.",
    Drop.BELOW_GLOBAL_QUANTILE: "Among the worst of the whole dataset.",
    Drop.BELOW_IDENTITY_QUANTILE: "Among the worst of its identity.",
    Drop.OVER_IDENTITY_BEST: "Not among the best N of its identity.",
    Drop.OVER_IDENTITY_CAP: "Its identity is not among the M that are kept.",
    Drop.OVER_TARGET_SIZE: "The dataset was cut to a target size, worst images first.",
    Drop.IDENTITY_TOO_SMALL: "Its identity was left with fewer than the least number of images.",
}
