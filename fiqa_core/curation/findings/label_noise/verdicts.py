"""Verdicts on labels, from the own centre, the nearest other centre and the quality."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.curation.findings.label_noise.centre_task import (
    own_file,
    partition_rows,
    people_file,
    read_centres,
    read_columns,
)
from fiqa_core.curation.findings.label_noise.thresholds import Thresholds, read_thresholds
from fiqa_core.curation.findings.rows import read_names
from fiqa_core.curation.findings.similarity import best_other, blocks
from fiqa_core.curation.findings.tasks import Counts, load_array, save_table
from fiqa_core.storage import join
from schemas.findings import LABELS
from schemas.label_verdicts import LabelVerdict

# If the smaller group has more than this share of the larger one, it is unknown which person the label means.
_AMBIGUOUS = 0.5
_COMPARED_AT_ONCE = 65_536
# How much nearer another identity must be, in standard deviations of the cosines of images to other centres: for an
# image that is not a suspect, and for one of poor quality. Measured: docs/label_noise.md.
_NEARER, _NEARER_IF_POOR = 2.0, 3.0

FOUND = pa.schema(
    [
        ("code", pa.int64()),
        ("judged", pa.int64()),
        ("coherence", pa.float32()),
        ("outliers", pa.int64()),
        ("is_split", pa.bool_()),
        ("split_sizes", pa.list_(pa.int64())),
        ("split_cosine", pa.float32()),
        ("split_minority", pa.list_(pa.int64())),
        ("merge_code", pa.int64()),
        ("merge_cosine", pa.float32()),
    ]
)


def verdicts(
    thresholds: Thresholds,
    own: np.ndarray,
    nearest: np.ndarray,
    quality: np.ndarray,
    is_certain: np.ndarray,
) -> np.ndarray:
    """The verdict on each image, as object array of `LabelVerdict`.

    Args:
        own: cosine to the own centre, NaN without one. nearest: to the nearest other centre, NaN if not searched for.
        quality: higher = better, NaN if unknown.
        is_certain: whether the identity has a consensus, and the image is not in one of two groups of similar size.

    An image is a suspect if `own` is below `thresholds.suspect`. The rules, in this order:

    - If another identity clearly matches (it is nearer than the own one, and at least `match`), the label is wrong,
      however poor the image. This also holds if no other picture of its identity has a vote (`own` is NaN), and up to
      `doubt` if the other identity is much nearer.
    - A poor image gives no evidence, unless another identity is nearer by more than chance explains. Nor does an image
      whose identity has no consensus.
    - A good suspect has a wrong label if another identity is nearer, or if its own is so far that chance hardly
      explains it (`sure`).
    """
    suspect = own < thresholds.suspect
    nearer = nearest > own
    poor = quality < thresholds.poor
    gap, spread = nearest - own, thresholds.impostor_deviation
    doubted = suspect | ((own < thresholds.doubt) & (gap >= _NEARER * spread)) | np.isnan(own)
    matches = doubted & ~(nearest <= own) & (nearest >= thresholds.match)
    halfway = (thresholds.suspect + thresholds.match) / 2
    poor &= ~(is_certain & (gap >= _NEARER_IF_POOR * spread) & (nearest >= halfway))
    believed = suspect & (nearer | (own < thresholds.sure))
    found = np.full(len(own), LabelVerdict.UNSURE, object)
    found[own >= thresholds.suspect] = LabelVerdict.AGREES
    found[believed & is_certain] = LabelVerdict.WRONG_LABEL
    found[suspect & poor] = LabelVerdict.LOW_QUALITY
    found[matches] = LabelVerdict.WRONG_LABEL
    return found


@dataclass(frozen=True)
class JudgeTask:
    """One partition -> its `labels` file, and the findings about its identities."""

    output: str
    work: str
    target: str
    partition: int
    partitions: int
    spills: int
    threads: int
    recognised: float | None = None

    @property
    def name(self) -> str:
        return f"judge-{self.partition:06d}"

    def run(self) -> Counts:
        """Judge and publish."""
        own = read_columns(own_file(self.work, self.partition))
        people = read_columns(people_file(self.work, self.partition))
        thresholds = read_thresholds(self.work)
        names = read_names(self.work)
        position = np.searchsorted(people["code"], own["code"])
        is_split = (people["split_cosine"] < thresholds.split) & (people["split_coherence"] >= thresholds.suspect)
        sizes = self._sizes(own, position, len(people["code"]))
        ambiguous = is_split & (sizes[:, 1] > _AMBIGUOUS * sizes[:, 0])
        agreeing = np.bincount(position[own["cosine"] >= thresholds.suspect], minlength=len(people["code"]))
        is_certain = (agreeing[position] >= 2) & ~(ambiguous[position] & own["second"])
        nearest_code, nearest, merge_code, merge = self._nearest(own, people, position, thresholds)
        quality = load_array(join(self.work, "quality.npy"))[own["rid"]]
        verdict = verdicts(thresholds, own["cosine"], nearest, quality, is_certain)
        labels = {
            "rid": own["rid"],
            "centre_cosine": pa.array(own["cosine"], pa.float32(), from_pandas=True),
            "genuine_cosine": pa.array(own["genuine"], pa.float32(), from_pandas=True),
            "nearest_label": names.take(pa.array(nearest_code, mask=nearest_code < 0)),
            "nearest_cosine": pa.array(nearest, pa.float32(), from_pandas=True),
            "label_verdict": pa.array(verdict.tolist(), pa.string()),
        }
        order = np.argsort(own["rid"])
        save_table(
            {name: pa.array(values).take(pa.array(order)) for name, values in labels.items()},
            LABELS,
            self.output,
            self.target,
        )
        merges = merge >= thresholds.merge
        suspects = np.bincount(position[own["cosine"] < thresholds.suspect], minlength=len(people["code"]))
        self._save_people(own, people, position, suspects, is_split, sizes, np.where(merges, merge_code, -1), merge)
        return {
            "suspects": int(suspects.sum()),
            "splits": int(is_split.sum()),
            "merge_candidates": int(merges.sum()),
            **{f"verdict_{name}": int((verdict == name).sum()) for name in LabelVerdict},
        }

    @staticmethod
    def _sizes(own: dict[str, np.ndarray], position: np.ndarray, count: int) -> np.ndarray:
        second = np.bincount(position[own["second"]], minlength=count)
        return np.stack([np.bincount(position, minlength=count) - second, second], axis=1)

    def _nearest(
        self,
        own: dict[str, np.ndarray],
        people: dict[str, np.ndarray],
        position: np.ndarray,
        thresholds: Thresholds,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Nearest other centre for doubtful images, for images that may be recognised, and for every identity's
        centre."""
        code = np.full(len(own["rid"]), -1, np.int64)
        cosine = np.full(len(own["rid"]), np.nan, np.float32)
        rows = partition_rows(self.work, self.spills, self.partition, self.partitions)
        if rows is None:
            return code, cosine, np.empty(0, np.int64), np.empty(0, np.float32)
        outvoted = np.isnan(own["cosine"]) & (people["votes"][position] > 1)
        compared = (own["cosine"] < thresholds.suspect) | (own["cosine"] < thresholds.doubt) | outvoted
        if self.recognised is not None:
            compared |= own["genuine"] >= np.float32(self.recognised)
        looked_for = np.flatnonzero(compared)
        ((_, centres),) = read_centres(self.work, self.partition, self.partition + 1)
        for part in blocks(len(looked_for), _COMPARED_AT_ONCE):
            some = looked_for[part]
            code[some], cosine[some] = self._best_other(rows.vector[some], own["code"][some])
        return code, cosine, *self._best_other(centres, people["code"])

    def _best_other(self, vectors: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return best_other(vectors, own, read_centres(self.work, 0, self.partitions), self.threads)

    def _save_people(
        self,
        own: dict[str, np.ndarray],
        people: dict[str, np.ndarray],
        position: np.ndarray,
        suspects: np.ndarray,
        is_split: np.ndarray,
        sizes: np.ndarray,
        merge_code: np.ndarray,
        merge: np.ndarray,
    ) -> None:
        members: list[list[int] | None] = [None] * len(is_split)
        for number in np.flatnonzero(is_split).tolist():
            at = slice(*np.searchsorted(position, [number, number + 1]))
            members[number] = own["rid"][at][own["second"][at]].tolist()
        columns = {
            "code": people["code"],
            "judged": people["judged"],
            "coherence": pa.array(people["coherence"], pa.float32(), from_pandas=True),
            "outliers": suspects.astype(np.int64),
            "is_split": is_split,
            "split_sizes": pa.array(
                [pair if split else None for pair, split in zip(sizes.tolist(), is_split.tolist(), strict=True)],
                pa.list_(pa.int64()),
            ),
            "split_cosine": pa.array(people["split_cosine"], pa.float32(), mask=~is_split),
            "split_minority": pa.array(members, pa.list_(pa.int64())),
            "merge_code": pa.array(merge_code, pa.int64(), mask=merge_code < 0),
            "merge_cosine": pa.array(merge, pa.float32(), mask=merge_code < 0),
        }
        save_table(columns, FOUND, self.output, found_file(self.work, self.partition))


def found_file(work: str, partition: int) -> str:
    """URL of the findings about a partition's identities."""
    return join(work, "centres", f"found-{partition:06d}.parquet")
