"""Settings of the search for label noise and near duplicates."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace

from fiqa_core.settings.checks import Choice, Number, Whole, count, fraction, optional, share, similarity
from fiqa_core.settings.fields import SettingError, check_all, checked, setting

WAYS = ("auto", "picture", "cosine", "phash", "either")
# Copies of one picture, whatever the network: by cosine alone, and where the pictures themselves are compared too.
_COSINE, _CANDIDATE_COSINE, _PICTURE, _BITS = 0.95, 0.8, 0.97, 4


@dataclass(frozen=True)
class LabelNoiseSettings:
    """When an image counts as an outlier of its identity. A cosine of None is found from the dataset itself."""

    cosine: float | None = setting(
        None,
        optional(similarity),
        "suspect images whose cosine to their identity's centre is below this (default: found from the dataset)",
        "--label-cosine",
        "C",
    )
    own_quantile: float | None = setting(
        None,
        optional(fraction),
        "the same limit as a share of all rows: 0.02 suspects the 2 % with the lowest cosine",
        "--label-quantile",
        "SHARE",
    )
    impostor_quantile: float = setting(
        0.99,
        share,
        "without either limit, suspect images whose cosine is below this quantile of the cosines between images and "
        "the centres of other identities: about 1 - quantile of the wrong labels are missed",
    )
    sure_quantile: float = setting(
        0.9, share, "below this quantile a label is wrong even if no other identity is nearer"
    )
    poor_quantile: float = setting(
        0.1,
        fraction,
        "the share of rows with the lowest quality, whose distance alone is no evidence of a wrong label",
        "--label-poor-quantile",
        "SHARE",
    )
    match_cosine: float | None = setting(
        None, optional(similarity), "from this cosine on, an image clearly belongs to another identity"
    )
    merge_cosine: float | None = setting(
        None,
        optional(similarity),
        "report two identities as one person if the cosine of their centres is at least this (default: found from the "
        "dataset)",
        "--merge-cosine",
        "C",
    )
    split_cosine: float | None = setting(
        None,
        optional(similarity),
        "report an identity as two people if it has two groups whose cosine is below this (default: found from the "
        "dataset)",
        "--split-cosine",
        "C",
    )
    recognised_cosine: float | None = setting(
        None,
        optional(similarity),
        "compare images with the centres of other identities if their mean cosine to the rest of their identity is at "
        "least this, to know which are recognised; without it only doubtful images are compared",
    )

    def __post_init__(self) -> None:
        check_all("labels", self)
        if self.cosine is not None and self.own_quantile is not None:
            raise SettingError("labels: give the limit as a cosine or as a quantile of own cosines, not as both")


@dataclass(frozen=True)
class NearSettings:
    """When two pictures count as nearly the same. Measured: docs/label_noise.md."""

    by: str = setting(
        "auto",
        Choice(*WAYS),
        "picture: the embeddings are near and the thumbnails agree; cosine: of embeddings alone; phash: perceptual "
        "hash; either: cosine or phash; auto: picture if the tables have thumbnails (score with --phash), else cosine",
        "--near-by",
        "WHAT",
    )
    cosine: float | None = setting(
        None, optional(similarity), "least cosine of a pair (default 0.95; by picture 0.8)", "--near-cosine", "C"
    )
    picture: float | None = setting(
        None,
        optional(Number("a number of more than 0 up to 1", above=0, most=1)),
        "least agreement of two thumbnails (default 0.97)",
        "--near-picture",
        "S",
    )
    bits: int | None = setting(None, optional(Whole(0, 15)), "most differing bits of two hashes of 64 bits (default 4)")
    # Without a limit, ten thousand copies of a picture would make fifty million pairs.
    most: int = setting(
        64, count, "a row is paired with at most this many earlier rows: by cosine the first, by picture the nearest"
    )
    exact_up_to: int = setting(
        50_000, Whole(0), "up to this many images every pair is compared; above, only images that share a cell"
    )
    probes: int = setting(3, count, "cells in which an image is searched for")

    def __post_init__(self) -> None:
        check_all("near", self)

    def settled(self, has_thumbnails: bool) -> "NearSettings":
        """The same settings, with `auto` replaced by what it stands for."""
        return replace(self, by="picture" if has_thumbnails else "cosine") if self.by == "auto" else self

    @property
    def least_cosine(self) -> float:
        """The cosine limit that applies once `by` is settled."""
        return self.cosine if self.cosine is not None else _CANDIDATE_COSINE if self.by == "picture" else _COSINE

    @property
    def least_picture(self) -> float:
        """The limit for thumbnails that applies."""
        return _PICTURE if self.picture is None else self.picture

    @property
    def most_bits(self) -> int:
        """The limit for differing bits that applies."""
        return _BITS if self.bits is None else self.bits


@dataclass(frozen=True)
class FindingsSettings:
    """What to search for. None: no search of that kind."""

    labels: LabelNoiseSettings | None = field(default_factory=LabelNoiseSettings)
    near: NearSettings | None = field(default_factory=NearSettings)
    memory_mib: int = setting(256, count, "size of one block of embeddings in memory, MiB")

    def __post_init__(self) -> None:
        memory = next(item for item in fields(self) if item.name == "memory_mib")
        checked("findings", memory, self.memory_mib)

    def digest(self) -> str:
        """SHA-256 of everything that changes a finding, hexadecimal."""
        near = self.near
        applied = [] if near is None else [near.least_cosine, near.least_picture, near.most_bits]
        return hashlib.sha256(json.dumps([asdict(self), applied], sort_keys=True).encode()).hexdigest()
