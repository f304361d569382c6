"""The sections of a recipe, one for each stage of clean_dataset; `policy` is that of filter_dataset."""

from dataclasses import dataclass, field
from typing import Any

from fiqa_core.curation.decisions.policy import Duplicates, Policy
from fiqa_core.curation.subset.settings import DEFAULT_SHARD_SIZE
from fiqa_core.settings import checks
from fiqa_core.settings.checks import Choice, count, optional, switch
from fiqa_core.settings.fields import SettingError, required, setting
from fiqa_core.shards.formats import SAME, input_formats, output_formats

NO_IMAGES = "none"
_OWN_EMBEDDINGS = "--embedding-type"  # among the options of scoring: the quality network's own


def _names_or_none(value: Any) -> tuple[str, ...]:
    return () if value in ([], ()) else checks.names(value)


@dataclass(frozen=True)
class Data:
    """Where records come from and where everything goes."""

    input: tuple[str, ...] = required(checks.names, "shards, folders or patterns, on any store", "--input", "URI")
    output: str = required(checks.name, "folder for all results", "--output", "URI")
    format: str = setting("auto", Choice(*input_formats()), "format of the input", "--format", "FORMAT")
    label_field: str = setting(
        "", checks.text, "column or field with the label; empty: found by its name", "--label-field", "NAME"
    )
    image_field: str = setting(
        "", checks.text, "column with the image; empty: found by its name", "--image-field", "NAME"
    )
    key_field: str = setting(
        "", checks.text, "column with the records' names; empty: found by its name", "--key-field", "NAME"
    )
    allow_incomplete: bool = setting(
        False,
        switch,
        "go on although shards could not be read to their end (default: stop after scoring)",
        "--allow-incomplete",
        "true|false",
    )


@dataclass(frozen=True)
class Score:
    """Stage 1: fiqa score."""

    model: str | None = setting(
        None,
        optional(checks.name),
        "the quality network's file (default: the small network of this package, for demonstration)",
        "--model",
        "URI",
    )
    network: str | None = setting(
        None, optional(checks.name), "a known quality network (fiqa networks)", "--network", "NAME"
    )
    calibration: str | None = setting(
        None,
        optional(checks.name),
        "what the scores mean: a file of fiqa calibrate; `embedded` for this package's network (default: embedded "
        "where that network is used)",
        "--calibration",
        "FILE",
    )
    align: bool = setting(
        False, switch, "find the face and align it; for pictures that are not aligned crops", "--align", "true|false"
    )
    phash: bool = setting(True, switch, "add hashes and thumbnails, by which near duplicates are found")
    measures: bool = setting(False, switch, "add columns that say why an image is bad (docs/measures.md)")
    options: str = setting("", checks.text, 'further options of fiqa score, as on its command line: "--min-side 40"')


@dataclass(frozen=True)
class Embed:
    """Stage 2: fiqa embed, where a network is named."""

    model: str | None = setting(
        None,
        optional(checks.name),
        "a face recognition network's file, for wrong labels and near duplicates (default: none, no embeddings)",
        "--embedding-model",
        "URI",
    )
    network: str | None = setting(
        None,
        optional(checks.name),
        "a known face recognition network (fiqa networks), in place of or beside its file (default: none)",
        "--embedding-network",
        "NAME",
    )
    options: str = setting("", checks.text, 'further options of fiqa embed: "--onnx-mean 127.5 --onnx-std 128"')


@dataclass(frozen=True)
class Decide:
    """Stage 3: findings in the embeddings, and decisions by the policy."""

    review: str | None = setting(
        None,
        optional(checks.name),
        "what a person decided on the page of the report (review.csv); it comes before every rule",
        "--review",
        "FILE.csv",
    )
    further: bool = setting(True, switch, "look what each further rule would take, for the account and the report")
    against: tuple[str, ...] = setting(
        (), _names_or_none, "quality tables of datasets that must not overlap with this one"
    )
    labels: str | None = setting(
        None, optional(checks.name), "labels in place of those of the shards: a CSV or Parquet file with key and label"
    )
    labels_key: str = setting("", checks.text, "column of the keys in that file; empty: found by its name")
    labels_column: str = setting("", checks.text, "column of the labels in that file; empty: found by its name")
    group_by: str | None = setting(
        None, optional(checks.name), "say what each group loses: a column, or a file with key and group"
    )
    group_key: str = setting("", checks.text, "column of the keys in that file; empty: found by its name")
    group_column: str = setting("group", checks.name, "column of the groups in that file")


@dataclass(frozen=True)
class Subset:
    """The images that are written, after the account and a yes."""

    write: str = setting(
        SAME,
        Choice(*output_formats(), NO_IMAGES),
        "format of the kept images; same: that of the input; none: no images are written",
        "--write",
        "FORMAT",
    )
    dropped: bool = setting(
        False,
        switch,
        "write the images that go, too: OUTPUT/dropped/REASON/IDENTITY/IMAGE",
        "--write-dropped",
        "true|false",
    )
    shard_size: int = setting(DEFAULT_SHARD_SIZE, count, "images in a shard", "--shard-size")
    relabel: bool = setting(False, switch, "replace labels by 0 .. n-1; the map is in labels.csv")
    recordio_layout: str = setting(
        "", Choice("", "insightface", "plain"), "of RecordIO: insightface or plain; empty: insightface"
    )


@dataclass(frozen=True)
class Report:
    """The page to look at the result (fiqa report)."""

    make: bool = setting(True, switch, "make report.html (extra report)", "--report", "true|false")
    title: str = setting("Cleaning a face dataset", checks.text, "title of the page")
    examples: int = setting(48, checks.Whole(1, 200), "faces shown for each reason, and for each further rule")
    group_by: tuple[str, ...] = setting((), _names_or_none, "quality by these columns")


@dataclass(frozen=True)
class Run:
    """How the stages run; nothing here changes a decision, except that a GPU computes in half precision."""

    device: str = setting("auto", checks.name, "where the networks run", "--device", "auto|cpu|cuda")
    workers: int | None = setting(
        None, optional(count), "worker processes on this machine (default: as each stage chooses)", "--workers"
    )


def cautious_policy() -> Policy:
    """What a new recipe drops: images that cannot be decoded or scored, and exact copies; nothing else."""
    return Policy(duplicates=Duplicates(exact="all"))


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Raises:
        SettingError: settings that do not go together.
    """

    data: Data
    score: Score = field(default_factory=Score)
    embed: Embed = field(default_factory=Embed)
    policy: Policy = field(default_factory=cautious_policy)
    decide: Decide = field(default_factory=Decide)
    subset: Subset = field(default_factory=Subset)
    report: Report = field(default_factory=Report)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        rule = self._rule_on_embeddings()
        if rule is not None and not self.embeds and _OWN_EMBEDDINGS not in self.score.options:
            raise SettingError(
                f"policy: {rule} takes a face recognition network: name it in `embed:` (--embedding-model FILE or "
                "--embedding-network NAME)"
            )
        if not self.embeds and self.embed.options:
            raise SettingError("embed: options are given, but neither model nor network")

    def _rule_on_embeddings(self) -> str | None:
        """A rule of the policy that takes embeddings."""
        if self.policy.labels.drop_wrong:
            return "labels: drop_wrong"
        if self.policy.quality.protect_recognised is not None:
            return "quality: protect_recognised"
        if self.policy.needs_pairs() and self.policy.near.by != "phash":
            return f"near duplicates by {self.policy.near.by} (not near: {{by: phash}})"
        return None

    @property
    def embeds(self) -> bool:
        """Whether images are embedded."""
        return self.embed.model is not None or self.embed.network is not None

    @property
    def writes(self) -> bool:
        """Whether images are written."""
        return self.subset.write != NO_IMAGES or self.subset.dropped


SECTIONS: dict[str, Any] = {
    "data": Data, "score": Score, "embed": Embed, "decide": Decide, "subset": Subset, "report": Report, "run": Run,
}  # fmt: skip
POLICY = "policy"
ORDER = ("data", "score", "embed", POLICY, "decide", "subset", "report", "run")


def policy_key(section: str) -> str:
    """What the values of a section of the policy are called among those of a recipe."""
    return f"{POLICY}.{section}"
