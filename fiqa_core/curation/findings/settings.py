"""What the search for label noise and near duplicates may be told."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace

WAYS = ("auto", "picture", "cosine", "phash", "either")
# Of copies of one picture, whatever the network: by cosine alone, and where the pictures themselves are compared.
_COSINE, _CANDIDATE_COSINE, _PICTURE, _BITS = 0.95, 0.8, 0.97, 4


@dataclass(frozen=True)
class LabelNoiseSettings:
    """When an image is called an outlier of its identity; None = found from the dataset itself.

    Attributes:
        cosine: an image is a suspect where its cosine to its own identity's centre is below this.
        own_quantile: the same as a share of all own cosines (0.02: the lowest 2 %); at most one of the two.
        impostor_quantile: without either, the suspects are those whose own cosine is below this quantile of what
            images have with *other* identities' centres: a wrong label is missed about 1 - quantile of the time.
        sure_quantile: below this one no nearer identity is needed to call a label wrong.
        poor_quantile: images whose quality is in this lowest share of the dataset are too poor to be believed.
        match_cosine: from here on an image clearly belongs to another identity. merge_cosine: from here on two
            identities are one person. split_cosine: below it two coherent groups are two people.
        recognised_cosine: images whose mean cosine to the others of their identity is this or more are compared with
            the centres of other identities, so that it is known which are recognised; None: only doubtful ones are.
    """

    cosine: float | None = None
    own_quantile: float | None = None
    impostor_quantile: float = 0.99
    sure_quantile: float = 0.9
    poor_quantile: float = 0.1
    match_cosine: float | None = None
    merge_cosine: float | None = None
    split_cosine: float | None = None
    recognised_cosine: float | None = None

    def __post_init__(self) -> None:
        if self.cosine is not None and self.own_quantile is not None:
            raise ValueError("label noise: give the threshold as a cosine or as a quantile of own cosines, not as both")
        for name in ("cosine", "match_cosine", "merge_cosine", "split_cosine", "recognised_cosine"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"label noise: {name} is a cosine, expected -1 to 1, found {value}")
        for name in ("own_quantile", "impostor_quantile", "sure_quantile", "poor_quantile"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"label noise: {name} is a share, expected 0 to 1, found {value}")


@dataclass(frozen=True)
class NearSettings:
    """What counts as nearly the same picture.

    Attributes:
        by: `picture` (near by cosine, and the thumbnails of the table agree), `cosine`, `phash`, `either` of these
            two, or `auto`: `picture` where every table has thumbnails, else `cosine`.
        cosine: pairs from here on; None: 0.95, by picture 0.8. picture: least agreement of the thumbnails (0.97).
        bits: pairs whose hashes differ in at most so many of 64 bits (4). Measured: docs/label_noise.md.
        most: a row is paired with at most so many earlier rows (by cosine with the first, by picture compared with
            the nearest), so that a picture that is there ten thousand times does not make fifty million pairs.
        exact_up_to: up to so many images every pair is looked at; above, those that share a cell.
        probes: cells in which an image is looked for.
    """

    by: str = "auto"
    cosine: float | None = None
    picture: float | None = None
    bits: int | None = None
    most: int = 64
    exact_up_to: int = 50_000
    probes: int = 3

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise ValueError(f"near duplicates: expected one of {', '.join(WAYS)}, found {self.by!r}")
        if not -1 <= self.least_cosine <= 1:
            raise ValueError(f"near duplicates: the cosine is -1 to 1, found {self.cosine}")
        if not 0 < self.least_picture <= 1:
            raise ValueError(f"near duplicates: the agreement of pictures is above 0 up to 1, found {self.picture}")
        if not 0 <= self.most_bits <= 15:
            raise ValueError(f"near duplicates: 0 to 15 differing bits of 64 can be asked for, found {self.bits}")
        if self.most < 1 or self.probes < 1:
            raise ValueError("near duplicates: `most` and `probes` are at least 1")

    def settled(self, has_thumbnails: bool) -> "NearSettings":
        """The same with `auto` decided."""
        return replace(self, by="picture" if has_thumbnails else "cosine") if self.by == "auto" else self

    @property
    def least_cosine(self) -> float:
        """The cosine that is applied once `by` is settled."""
        return self.cosine if self.cosine is not None else _CANDIDATE_COSINE if self.by == "picture" else _COSINE

    @property
    def least_picture(self) -> float:
        """The agreement of thumbnails that is applied."""
        return _PICTURE if self.picture is None else self.picture

    @property
    def most_bits(self) -> int:
        """The number of differing bits that is applied."""
        return _BITS if self.bits is None else self.bits


@dataclass(frozen=True)
class FindingsSettings:
    """What to look for. `labels` or `near` None: not looked for. `memory_mib`: size of one partition."""

    labels: LabelNoiseSettings | None = field(default_factory=LabelNoiseSettings)
    near: NearSettings | None = field(default_factory=NearSettings)
    memory_mib: int = 256

    def digest(self) -> str:
        """Hash of everything that changes a finding."""
        near = self.near
        applied = [] if near is None else [near.least_cosine, near.least_picture, near.most_bits]
        return hashlib.sha256(json.dumps([asdict(self), applied], sort_keys=True).encode()).hexdigest()
