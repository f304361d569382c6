"""A policy: which rows of a quality table are kept, and with what weight. The rules' order is schemas/drops.py's.

One order stands behind every rule that says better or worst: of two rows the better has the higher quality, and of
two of equal quality the one with the smaller row number. Where members of a group of duplicates are compared, a row
whose label is judged wrong comes after all others, and scores of near duplicates that differ by no more than noise
count as equal (`originals`).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import yaml

from fiqa_core.curation.decisions.policy_fields import (
    Choice,
    Numbers,
    PolicyError,
    Recognised,
    at_least_zero,
    count,
    fraction,
    number,
    optional,
    recognised,
    setting,
    similarity,
    switch,
    weight,
)
from fiqa_core.curation.findings.settings import WAYS, NearSettings
from schemas.versions import POLICY_VERSION

_ROUNDING = 1e-9
SCOPES = ("off", "within", "across", "all")
TIERS = ("A", "B", "C", "D", "E")


@dataclass(frozen=True)
class Labels:
    """What counts as a wrong label (docs/label_noise.md), and what is done with it. Cosines null: from the dataset."""

    drop_missing: bool = setting(
        False, "--drop-unlabelled", switch, "drop rows without a label (RecordIO sets need one)", "true|false"
    )
    drop_wrong: bool = setting(
        False, "--drop-wrong-labels", switch, "drop rows whose label is judged wrong (needs embeddings)", "true|false"
    )
    cosine: float | None = setting(
        None,
        "--label-cosine",
        optional(similarity),
        "suspect is whose cosine to the centre of its identity is below this (default: found from the dataset)",
        "C",
    )
    own_quantile: float | None = setting(
        None, "--label-quantile", optional(fraction), "the same as a share of all rows: the lowest 0.02", "SHARE"
    )
    poor_quantile: float = setting(
        0.1,
        "--label-poor-quantile",
        fraction,
        "rows among so many of the lowest quality are too poor to be called wrong by distance alone (0.1)",
        "SHARE",
    )
    merge_cosine: float | None = setting(
        None, "--merge-cosine", optional(similarity), "two identities whose centres have this cosine are reported", "C"
    )
    split_cosine: float | None = setting(
        None, "--split-cosine", optional(similarity), "an identity of two groups below this cosine is reported", "C"
    )


@dataclass(frozen=True)
class Near:
    """What counts as nearly the same picture (docs/label_noise.md)."""

    by: str = setting(
        "auto",
        "--near-by",
        Choice(*WAYS),
        "thumbnails of rows whose embeddings are near (picture), cosine alone, perceptual hash, either of the two, or "
        "auto: picture where the table has thumbnails (score with --phash), else cosine",
        "WHAT",
    )
    cosine: float | None = setting(
        None, "--near-cosine", optional(similarity), "least cosine (default 0.95; by picture: 0.8)", "C"
    )
    picture: float | None = setting(
        None, "--near-picture", optional(similarity), "least agreement of the thumbnails (default 0.97)", "S"
    )
    phash: float | None = setting(
        None,
        "--near-phash",
        optional(similarity),
        "least 1 - differing bits / 64 of the hashes (default 0.9375, which is 4 bits)",
        "S",
    )

    @property
    def search(self) -> NearSettings:
        """The search that finds such pairs."""
        bits = None if self.phash is None else int((1 - self.phash) * 64 + _ROUNDING)
        return NearSettings(self.by, self.cosine, self.picture, bits)

    def limits(self) -> dict[str, float]:
        """The least similarity of pairs, by their kind; a kind that does not count is not in it."""
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
    """What is done with rows that are also in a dataset given as --against."""

    exact: bool = setting(
        True, "--overlap-exact", switch, "drop rows whose stored bytes are in --against (default true)", "true|false"
    )
    near: bool = setting(
        False, "--overlap-near", switch, "drop rows of which --against has nearly the same picture", "true|false"
    )


@dataclass(frozen=True)
class Duplicates:
    """What is done with rows that show the same picture; the best is kept."""

    exact: str = setting(
        "off",
        "--exact-duplicates",
        Choice(*SCOPES),
        "rows of the same stored bytes: within one identity, across identities, all, or off",
        "SCOPE",
    )
    across: str = setting(
        "best",
        "--across-identities",
        Choice("best", "drop_all"),
        "same bytes under several identities: keep the best row's identity, or none of them",
        "best|drop_all",
    )
    near: str = setting(
        "off",
        "--near-duplicates",
        Choice(*SCOPES),
        "nearly the same picture, same bytes among them (needs embeddings or phash): scope as above",
        "SCOPE",
    )
    score_noise: float = setting(
        2.0,
        "--score-noise",
        at_least_zero,
        "of near duplicates whose scores differ by less than this many standard deviations of all scores the original "
        "stays: larger picture, finer compression, more bytes, first row (2)",
        "N",
    )


@dataclass(frozen=True)
class Quality:
    """What is done with rows of low quality."""

    min: float | None = setting(None, "--min-quality", optional(number), "drop rows of lower quality", "Q")
    drop_fraction: float = setting(
        0.0, "--drop-worst", fraction, "drop the worst share of all rows, such as 0.05", "SHARE"
    )
    drop_identity_fraction: float = setting(
        0.0, "--drop-worst-of-identity", fraction, "drop the worst share of each identity's rows", "SHARE"
    )
    keep_at_least: int | None = setting(
        None,
        "--keep-at-least",
        optional(count),
        "the best N rows of each identity stay, whatever the three rules above and --target-size say",
    )
    protect_recognised: Recognised | None = setting(  # noqa: RUF009
        None,
        "--protect-recognised",
        recognised,
        "a face that the embeddings place surely in its own identity stays, whatever the three rules of quality say: "
        "its mean cosine to the other images of its identity is 0.5 or more, and the centre of its identity is nearer "
        "than any other by 0.15 or more (or the two numbers given)",
        "COSINE,MARGIN",
    )
    action: str = setting(
        "drop",
        "--quality-action",
        Choice("drop", "weight"),
        "weight: rows that the three rules find are kept, with their weight multiplied by --found-weight",
        "drop|weight",
    )
    found_weight: float = setting(0.1, "--found-weight", weight, "see --quality-action (0.1)", "W")


@dataclass(frozen=True)
class Size:
    """How many images and identities are kept."""

    best_per_identity: int | None = setting(
        None, "--best-per-identity", optional(count), "keep the best N rows of each identity"
    )
    max_identities: int | None = setting(
        None, "--max-identities", optional(count), "keep the M identities with most images left"
    )
    target: int | None = setting(None, "--target-size", optional(count), "keep the best N rows of all")
    min_per_identity: int | None = setting(
        None, "--min-per-identity", optional(count), "drop identities left with fewer than N rows"
    )


@dataclass(frozen=True)
class Tiers:
    """Where the tiers A (best) to E begin."""

    by: str = setting(
        "quantile", "--tiers-by", Choice("quantile", "quality"), "what the edges are of (quantile)", "quantile|quality"
    )
    edges: tuple[float, ...] = setting(
        (0.8, 0.6, 0.4, 0.2), "--tier-edges", Numbers(4, number, True), "lower edges of tiers A, B, C, D", "A,B,C,D"
    )


@dataclass(frozen=True)
class Weights:
    """The sample weight of kept rows, in [0, 1]."""

    mode: str = setting(
        "uniform",
        "--weights",
        Choice("uniform", "quantile", "linear", "tier"),
        "uniform: 1; quantile: floor + (1 - floor) * quality_quantile; linear: floor to 1 between two qualities; "
        "tier: one for each tier",
        "MODE",
    )
    floor: float = setting(0.0, "--weight-floor", weight, "least weight of quantile and linear (0)", "W")
    low: float | None = setting(None, "--weight-low", optional(number), "linear: quality of the least weight", "Q")
    high: float | None = setting(None, "--weight-high", optional(number), "linear: quality of weight 1", "Q")
    tiers: tuple[float, ...] = setting(
        (1.0, 0.8, 0.6, 0.4, 0.2), "--tier-weights", Numbers(5, weight), "weights of tiers A to E", "A,B,C,D,E"
    )


@dataclass(frozen=True)
class Policy:
    """All rules together; the default drops nothing but rows without a score (and exact overlap with --against).

    Raises:
        PolicyError: settings that contradict each other.
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
            raise PolicyError(
                f"weights: linear needs `low` and `high` with low < high (--weight-low, --weight-high), "
                f"found low {low}, high {high}"
            )
        if self.labels.cosine is not None and self.labels.own_quantile is not None:
            raise PolicyError("labels: give the threshold as `cosine` or as `own_quantile`, not as both")
        try:
            _ = self.near.search
        except ValueError as error:
            raise PolicyError(f"near: {error}") from error
        if self.tiers.by == "quantile" and not all(0 <= edge <= 1 for edge in self.tiers.edges):
            raise PolicyError(f"tiers: edges by quantile are from 0 to 1, found {list(self.tiers.edges)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, section by section, as the YAML file has them."""
        sections = {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
            for name, values in asdict(self).items()
        }
        return {"version": POLICY_VERSION} | sections

    def to_yaml(self) -> str:
        """The whole policy as a file that `read_policy` reads back to an equal one."""
        return str(yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, allow_unicode=True))

    def digest(self) -> str:
        """SHA-256 of the settings, hexadecimal; equal for equal policies however they were given."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def needs_labels(self) -> bool:
        """Whether it asks for what the embedding says of labels."""
        return self.labels.drop_wrong or self.quality.protect_recognised is not None

    def needs_pairs(self) -> bool:
        """Whether it asks for pairs of nearly the same picture."""
        return self.duplicates.near != "off" or self.needs_overlap_pairs()

    def needs_overlap_pairs(self) -> bool:
        """Whether it asks for near pairs with --against."""
        return self.overlap.near


SECTIONS: dict[str, Any] = {item.name: item.default_factory for item in fields(Policy)}
