"""A policy: which rows of a quality table are kept, and with what weight. schemas/drops.py has the rules' order.

Every rule that says better or worst uses one order: of two rows the better has the higher quality; of two with equal
quality, the one with the smaller row number. In a group of duplicates a row whose label is judged wrong comes after
all others, and scores of near duplicates that differ by no more than noise count as equal (`originals`).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import yaml

from fiqa_core.curation.decisions.recognised_limits import Recognised, recognised
from fiqa_core.curation.decisions.row_rules import RowRule, float32, row_rule, rules_of
from fiqa_core.curation.decisions.written_conditions import DROP_WHERE, conditions
from fiqa_core.curation.findings.settings import LabelNoiseSettings, NearSettings
from fiqa_core.settings.checks import (
    Choice,
    Number,
    Numbers,
    at_least_zero,
    count,
    fraction,
    number,
    optional,
    switch,
    weight,
)
from fiqa_core.settings.fields import SettingError, same_as, setting
from schemas.versions import POLICY_VERSION

_ROUNDING = 1e-9
SCOPES = ("off", "within", "across", "all")
TIERS = ("A", "B", "C", "D", "E")


@dataclass(frozen=True)
class Labels:
    """When a label counts as wrong (docs/label_noise.md), and what to do with such rows."""

    drop_missing: bool = setting(
        False, switch, "drop rows without a label (RecordIO needs labels)", "--drop-unlabelled", "true|false"
    )
    drop_wrong: bool = setting(
        False, switch, "drop rows whose label is judged wrong (needs embeddings)", "--drop-wrong-labels", "true|false"
    )
    cosine: float | None = same_as(LabelNoiseSettings, "cosine")
    own_quantile: float | None = same_as(LabelNoiseSettings, "own_quantile")
    poor_quantile: float = same_as(LabelNoiseSettings, "poor_quantile")
    merge_cosine: float | None = same_as(LabelNoiseSettings, "merge_cosine")
    split_cosine: float | None = same_as(LabelNoiseSettings, "split_cosine")


@dataclass(frozen=True)
class Near:
    """When two pictures count as nearly the same (docs/label_noise.md)."""

    by: str = same_as(NearSettings, "by")
    cosine: float | None = same_as(NearSettings, "cosine")
    picture: float | None = same_as(NearSettings, "picture")
    phash: float | None = setting(
        None,
        optional(Number("a similarity of more than 0.75 up to 1", above=0.75, most=1)),
        "least similarity of two hashes, 1 - differing bits / 64 (default 0.9375, which is 4 bits)",
        "--near-phash",
        "S",
    )

    @property
    def search(self) -> NearSettings:
        """The settings of the search for such pairs."""
        bits = None if self.phash is None else int((1 - self.phash) * 64 + _ROUNDING)
        return NearSettings(self.by, self.cosine, self.picture, bits)

    def limits(self) -> dict[str, float]:
        """The least similarity of a pair, by kind of pair; a kind that does not count is left out."""
        search = self.search
        least = {
            "cosine": search.least_cosine,
            "picture": search.least_picture,
            "phash": 1 - search.most_bits / 64,
        }
        kinds = {"either": ("cosine", "phash"), "auto": ("cosine", "picture")}.get(self.by, (self.by,))
        return {kind: least[kind] for kind in kinds}


@dataclass(frozen=True)
class Overlap:
    """What to do with rows that also occur in a dataset given as --against."""

    exact: bool = setting(
        True, switch, "drop rows whose stored bytes occur in --against", "--overlap-exact", "true|false"
    )
    near: bool = setting(
        False, switch, "drop rows whose picture nearly occurs in --against", "--overlap-near", "true|false"
    )


@dataclass(frozen=True)
class Duplicates:
    """What to do with rows that show the same picture; the best row is kept."""

    exact: str = setting(
        "off",
        Choice(*SCOPES),
        "drop rows with the same stored bytes: within one identity, across identities, or all",
        "--exact-duplicates",
        "SCOPE",
    )
    across: str = setting(
        "best",
        Choice("best", "drop_all"),
        "the same bytes under several identities: keep the best row, or none of them",
        "--across-identities",
        "best|drop_all",
    )
    near: str = setting(
        "off",
        Choice(*SCOPES),
        "drop rows with nearly the same picture, including the same bytes (needs embeddings or phash)",
        "--near-duplicates",
        "SCOPE",
    )
    score_noise: float = setting(
        2.0,
        at_least_zero,
        "near duplicates whose scores differ by less than this many standard deviations of all scores count as equal; "
        "then the original is kept: larger picture, finer compression, more bytes, first row",
        "--score-noise",
    )


@dataclass(frozen=True)
class Quality:
    """What to do with rows of low quality."""

    min: float | None = row_rule(
        RowRule(
            "below_threshold",
            "The quality is below the absolute threshold.",
            "The quality is below the threshold, {value:g}.",
            lambda least: f"quality < {float32(least)}",
        ),
        optional(number),
        "drop rows below this quality",
        "--min-quality",
        "Q",
    )
    drop_fraction: float = setting(0.0, fraction, "drop this share of all rows, worst first", "--drop-worst", "SHARE")
    drop_identity_fraction: float = setting(
        0.0, fraction, "drop this share of each identity's rows, worst first", "--drop-worst-of-identity", "SHARE"
    )
    keep_at_least: int | None = setting(
        None,
        optional(count),
        "keep the best N rows of each identity, whatever the rules of quality and --target-size say",
        "--keep-at-least",
    )
    protect_recognised: Recognised | None = setting(  # noqa: RUF009
        None,
        recognised,
        "keep faces that the embeddings clearly place in their own identity, whatever the rules of quality say: "
        "the mean cosine to the other images of the identity is at least COSINE, and the identity's centre is nearer "
        "than any other by at least MARGIN (0.5,0.15 if the option has no value)",
        "--protect-recognised",
        "COSINE,MARGIN",
    )
    action: str = setting(
        "drop",
        Choice("drop", "weight"),
        "weight: keep the rows that the rules of quality find, and multiply their weight by --found-weight",
        "--quality-action",
        "drop|weight",
    )
    found_weight: float = setting(0.1, weight, "see --quality-action", "--found-weight", "W")
    min_percentile: float | None = row_rule(
        RowRule(
            "below_percentile",
            "The percentile in the calibration's set is below the threshold.",
            "The percentile in the calibration's set is below {value:g}.",
            lambda least: f"percentile < {float32(least)}",
            stored=True,
        ),
        optional(Number("a percentile from 0 to 100", least=0, most=100)),
        "drop rows below this percentile of the set that the scores are calibrated on (fiqa score --calibration)",
        "--min-percentile",
        "P",
    )
    max_predicted_fnmr: float | None = row_rule(
        RowRule(
            "high_predicted_fnmr",
            "The predicted false non-match rate is above the threshold.",
            "The predicted false non-match rate is above {value:g}.",
            lambda most: f"predicted_fnmr > {float32(most)}",
            stored=True,
        ),
        optional(Number("a rate from 0 to 1", least=0, most=1)),
        "drop rows whose predicted false non-match rate is above this (fiqa score --calibration)",
        "--max-predicted-fnmr",
        "RATE",
    )
    drop_where: tuple[str, ...] = row_rule(
        RowRule(
            DROP_WHERE,
            "A condition of the policy holds for it.",
            "A condition of the policy holds for it: {value}.",
            lambda _: "condition IS NOT NULL",
            stored=True,
            shown=" | ".join,
        ),
        conditions,
        'drop rows for which this holds, such as "pose_yaw > 60": any columns of the table, values, comparisons, '
        "arithmetic, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL; may be given several times (docs/curation.md)",
        "--drop-where",
        "CONDITION",
        default=(),
    )
    group_budget: float | None = setting(
        None,
        optional(Number("a share from 0 to 1", least=0, most=1)),
        "no group of --group-by loses more than this share to the rules of quality: the best of what they drop is kept "
        "again, as many as needed",
        "--group-budget",
        "SHARE",
    )


@dataclass(frozen=True)
class Size:
    """How many images and identities to keep."""

    best_per_identity: int | None = setting(
        None, optional(count), "keep the best N rows of each identity", "--best-per-identity"
    )
    max_identities: int | None = setting(
        None, optional(count), "keep the N identities with most images left", "--max-identities"
    )
    target: int | None = setting(None, optional(count), "keep the best N rows of all", "--target-size")
    min_per_identity: int | None = setting(
        None, optional(count), "drop identities that have fewer than N rows left", "--min-per-identity"
    )


@dataclass(frozen=True)
class Tiers:
    """Where the tiers A (best) to E begin."""

    by: str = setting(
        "quantile", Choice("quantile", "quality"), "what the edges measure", "--tiers-by", "quantile|quality"
    )
    edges: tuple[float, ...] = setting(
        (0.8, 0.6, 0.4, 0.2), Numbers(4, number, True), "lower edges of tiers A, B, C, D", "--tier-edges", "A,B,C,D"
    )


@dataclass(frozen=True)
class Weights:
    """The sample weight of kept rows, in [0, 1]."""

    mode: str = setting(
        "uniform",
        Choice("uniform", "quantile", "linear", "tier"),
        "uniform: 1; quantile: floor + (1 - floor) * quality_quantile; linear: from floor to 1 between two qualities; "
        "tier: one weight for each tier",
        "--weights",
        "MODE",
    )
    floor: float = setting(0.0, weight, "least weight of quantile and linear", "--weight-floor", "W")
    low: float | None = setting(None, optional(number), "linear: quality with the least weight", "--weight-low", "Q")
    high: float | None = setting(None, optional(number), "linear: quality with weight 1", "--weight-high", "Q")
    tiers: tuple[float, ...] = setting(
        (1.0, 0.8, 0.6, 0.4, 0.2), Numbers(5, weight), "weights of tiers A to E", "--tier-weights", "A,B,C,D,E"
    )


@dataclass(frozen=True)
class Policy:
    """All rules together; the default drops only rows without a score (and exact overlap with --against).

    Raises:
        SettingError: settings that contradict each other.
    """

    labels: Labels = field(default_factory=Labels)
    near: Near = field(default_factory=Near)
    overlap: Overlap = field(default_factory=Overlap)
    duplicates: Duplicates = field(default_factory=Duplicates)
    quality: Quality = field(default_factory=Quality)
    size: Size = field(default_factory=Size)
    tiers: Tiers = field(default_factory=Tiers)
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        low, high = self.weights.low, self.weights.high
        if self.weights.mode == "linear" and (low is None or high is None or low >= high):
            raise SettingError(
                f"weights: linear needs `low` and `high` with low < high (--weight-low, --weight-high), "
                f"found low {low}, high {high}"
            )
        # The searches refuse what contradicts itself.
        _ = self.label_search, self.near.search
        if self.tiers.by == "quantile" and not all(0 <= edge <= 1 for edge in self.tiers.edges):
            raise SettingError(f"tiers: edges by quantile are from 0 to 1, found {list(self.tiers.edges)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, section by section, as the YAML file has them."""
        sections = {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
            for name, values in asdict(self).items()
        }
        return {"version": POLICY_VERSION} | sections

    def to_yaml(self) -> str:
        """The whole policy as YAML; `read_policy` reads an equal policy from it."""
        return str(yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, allow_unicode=True))

    def digest(self) -> str:
        """SHA-256 of the settings, hexadecimal; equal policies have equal digests, whether from YAML or options."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def label_search(self) -> LabelNoiseSettings:
        """The settings of the search for wrong labels and recognised faces."""
        rule, protect = self.labels, self.quality.protect_recognised
        return LabelNoiseSettings(
            rule.cosine,
            rule.own_quantile,
            poor_quantile=rule.poor_quantile,
            merge_cosine=rule.merge_cosine,
            split_cosine=rule.split_cosine,
            recognised_cosine=None if protect is None else protect.cosine,
        )

    def needs_labels(self) -> bool:
        """Whether a rule uses what the embeddings say about labels."""
        return self.labels.drop_wrong or self.quality.protect_recognised is not None

    def needs_pairs(self) -> bool:
        """Whether a rule uses pairs of nearly the same picture."""
        return self.duplicates.near != "off" or self.needs_overlap_pairs()

    def needs_overlap_pairs(self) -> bool:
        """Whether a rule uses near pairs with --against."""
        return self.overlap.near


SECTIONS: dict[str, Any] = {item.name: item.default_factory for item in fields(Policy)}
ROW_RULES = rules_of(SECTIONS.items())
