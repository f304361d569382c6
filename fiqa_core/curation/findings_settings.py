"""What the search for label noise and near duplicates may be told."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

_ALONE, _BOTH = (0.95, 4), (0.86, 14)


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
    """

    cosine: float | None = None
    own_quantile: float | None = None
    impostor_quantile: float = 0.99
    sure_quantile: float = 0.9
    poor_quantile: float = 0.1
    match_cosine: float | None = None
    merge_cosine: float | None = None
    split_cosine: float | None = None

    def __post_init__(self) -> None:
        if self.cosine is not None and self.own_quantile is not None:
            raise ValueError("label noise: give the threshold as a cosine or as a quantile of own cosines, not as both")
        for name in ("cosine", "match_cosine", "merge_cosine", "split_cosine"):
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
        by: `cosine`, `phash`, `either` of them, or `both` (cosine pairs whose hashes agree too).
        cosine: pairs from here on. bits: pairs whose hashes differ in at most so many of 64 bits. None: 0.95 and 4
            where one of them decides, 0.86 and 14 where both must agree (measured: docs/label_noise.md).
        most: a row is paired with at most so many earlier rows, the first ones, so that a picture that is there
            ten thousand times does not make fifty million pairs.
        exact_up_to: up to so many images every pair is looked at; above, those that share a cell.
        probes: cells in which an image is looked for.
    """

    by: str = "cosine"
    cosine: float | None = None
    bits: int | None = None
    most: int = 64
    exact_up_to: int = 50_000
    probes: int = 3

    def __post_init__(self) -> None:
        if self.by not in ("cosine", "phash", "either", "both"):
            raise ValueError(f"near duplicates: expected cosine, phash, either or both, found {self.by!r}")
        if not -1 <= self.least_cosine <= 1:
            raise ValueError(f"near duplicates: the cosine is -1 to 1, found {self.cosine}")
        limit = 64 if self.by == "both" else 15
        if not 0 <= self.most_bits <= limit:
            raise ValueError(f"near duplicates: 0 to {limit} differing bits of 64 can be asked for, found {self.bits}")
        if self.most < 1 or self.probes < 1:
            raise ValueError("near duplicates: `most` and `probes` are at least 1")

    @property
    def least_cosine(self) -> float:
        """The cosine that is applied."""
        return self.cosine if self.cosine is not None else _BOTH[0] if self.by == "both" else _ALONE[0]

    @property
    def most_bits(self) -> int:
        """The number of differing bits that is applied."""
        return self.bits if self.bits is not None else _BOTH[1] if self.by == "both" else _ALONE[1]


@dataclass(frozen=True)
class FindingsSettings:
    """What to look for. `labels` or `near` None: not looked for. `memory_mib`: size of one partition."""

    labels: LabelNoiseSettings | None = field(default_factory=LabelNoiseSettings)
    near: NearSettings | None = field(default_factory=NearSettings)
    memory_mib: int = 256

    def digest(self) -> str:
        """Hash of everything that changes a finding."""
        applied = [self.near.least_cosine, self.near.most_bits] if self.near is not None else []
        return hashlib.sha256(json.dumps([asdict(self), applied], sort_keys=True).encode()).hexdigest()
