"""Images that are poor: for every recogniser and every measure, or for one of them only.

A recogniser finds an image poor if more than half of its mated pairs fail at a fixed threshold: then it is the image
that fails, not its partners. A measure finds as many images poor as the recognisers do on average, its worst ones.
Neither number needs a setting, and a measure's scale does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fiqa_core.evaluation import edc
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.pairs import Pairs

DROP, KEEP, LOOK = "drop", "keep", "look"
_HALF = 0.5


@dataclass
class JudgedImages:
    """What each recogniser says of the images of a dataset.

    Attributes:
        fmrs: the target rates that can be measured. failing: by recogniser, float64 (F, I), the share of each image's
            mated pairs that fails at each target; NaN for an image in no mated pair.
    """

    pairs: Pairs
    fmrs: Sequence[float]
    failing: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, judge: str, comparisons: Comparisons) -> None:
        """Take a recogniser's verdicts."""
        self.failing[judge] = np.stack(
            [failing_share(self.pairs, failed) for failed in failed_pairs(comparisons, self.fmrs)]
        )

    def rows(self, dataset: str, measures: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Rows of poor_images.csv: images that at least one recogniser or measure finds poor, most votes first.

        Args:
            measures: quality of each image, float64 (I,), by measure; higher = better.
        """
        judges = list(self.failing)
        mated = mated_pairs_of_images(self.pairs)
        rows = []
        for place, fmr in enumerate(self.fmrs):
            failing = np.stack([self.failing[judge][place] for judge in judges])
            by_judges = failing > _HALF
            allowed = round(float(by_judges.sum(axis=1).mean()))
            by_measures = np.stack([_worst(quality, mated > 0, allowed) for quality in measures.values()])
            votes = by_judges.sum(axis=0) + by_measures.sum(axis=0)
            voters = len(judges) + len(measures)
            for image in np.argsort(-votes, kind="stable")[: int((votes > 0).sum())]:
                own = int(votes[image])
                rows.append(
                    {
                        "dataset": dataset,
                        "image": self.pairs.names[int(image)],
                        "fmr": fmr,
                        "advice": DROP if own == voters else KEEP if own == 1 else LOOK,
                        "judges": int(by_judges[:, image].sum()),
                        "judges_names": _names(judges, by_judges[:, image]),
                        "measures": int(by_measures[:, image].sum()),
                        "measures_names": _names(list(measures), by_measures[:, image]),
                        "mated_pairs": int(mated[image]),
                        "failing": float(failing[:, image].mean()),
                    }
                )
        return rows


def failed_pairs(comparisons: Comparisons, fmrs: Sequence[float], copies: np.ndarray | None = None) -> list[np.ndarray]:
    """Which mated pairs fail at a fixed threshold, bool (N,) over all pairs (non-mated ones: false), for each target.

    Args:
        copies: int (N,), how often each pair counts for the threshold; None: once.
    """
    same = QualityOrder.of(np.zeros(len(comparisons.mated)))
    found = []
    for curve in edc.fixed(comparisons, same, fmrs, copies):
        failed = np.zeros(len(comparisons.mated), bool)
        if not np.isnan(curve.threshold[0]):
            first = int(np.searchsorted(comparisons.mated_values, curve.threshold[0], "right"))
            failed[comparisons.mated_places[first:]] = True
        found.append(failed)
    return found


def failing_share(pairs: Pairs, failed: np.ndarray) -> np.ndarray:
    """Share of each image's mated pairs that fails, float64 (I,); NaN for an image in none.

    Args:
        failed: bool (N,), of each pair.
    """
    count = len(pairs.names)
    lost = np.bincount(pairs.a[failed], minlength=count) + np.bincount(pairs.b[failed], minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(lost / mated_pairs_of_images(pairs))


def mated_pairs_of_images(pairs: Pairs) -> np.ndarray:
    """Number of mated pairs of each image, int64 (I,)."""
    count = len(pairs.names)
    a, b = pairs.a[pairs.mated], pairs.b[pairs.mated]
    return np.asarray(np.bincount(a, minlength=count) + np.bincount(b, minlength=count))


def _worst(quality: np.ndarray, among: np.ndarray, most: int) -> np.ndarray:
    """The worst images, at most so many; images that tie at the edge are taken all or none."""
    values = np.sort(quality[among])
    if not most or not len(values):
        return np.zeros(len(quality), bool)
    edge = values[min(most, len(values)) - 1]
    reaches = int(np.searchsorted(values, edge, "right")) <= most
    worst: np.ndarray = among & ((quality <= edge) if reaches else (quality < edge))
    return worst


def _names(names: Sequence[str], which: np.ndarray) -> str:
    return " ".join(name for name, chosen in zip(names, which, strict=True) if chosen)
