"""FNMR of each group of people, without discarding and with the worst pairs of all groups discarded by each measure.

One threshold holds for all groups, set once on all non-mated pairs, as in a system in use. A mated pair belongs to a
group if both of its images do. Discarding cuts at one quality for all, so the table also says what share of each
group's pairs goes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.poor_images import failed_pairs

SHARES = (0.0, 0.1, 0.2, 0.3)
NO_GROUP, MIXED = "(no group)", "(two groups)"


def group_rows(
    dataset: str,
    fr_model: str,
    pairs: Pairs,
    comparisons: Comparisons,
    methods: Mapping[str, np.ndarray],
    groups: pa.Array,
    fmrs: Sequence[float],
) -> list[dict[str, Any]]:
    """Rows of groups.csv (schemas/edc.py).

    Args:
        methods: quality of each name of the pair list, float64 (I,), by measure; higher = better.
        groups: text (I,), of each name; null: none. fmrs: targets; those that cannot be measured give no row.
    """
    names, of_pairs = _groups_of_pairs(pairs, groups)
    mated = np.flatnonzero(pairs.mated)
    a, b = pairs.a[mated], pairs.b[mated]
    rows = []
    for fmr, all_failed in zip(fmrs, failed_pairs(comparisons, fmrs), strict=True):
        if fmr < 1 / len(comparisons.nonmated_places):
            continue
        failed = all_failed[mated]
        for method, quality in methods.items():
            worse = np.minimum(quality[a], quality[b])
            ascending = np.sort(worse)
            for share in SHARES:
                # Pairs of equal quality go together: never more than the share.
                left = worse >= ascending[int(share * len(ascending) + 1e-9)]
                for place, name in enumerate(names):
                    own = of_pairs == place
                    rows.append(
                        {
                            "dataset": dataset,
                            "fr_model": fr_model,
                            "method": method,
                            "fmr": fmr,
                            "group": name,
                            "discard": share,
                            "n_mated": int(own.sum()),
                            "discarded": 1 - float(left[own].mean()),
                            "failed": int((failed & own & left).sum()),
                            "fnmr": float(failed[own & left].mean()) if (own & left).any() else float("nan"),
                        }
                    )
    return rows


def _groups_of_pairs(pairs: Pairs, groups: pa.Array) -> tuple[list[str], np.ndarray]:
    """Names of the groups that have mated pairs, and the number of each mated pair's group."""
    texts = np.array([NO_GROUP if name is None else name for name in groups.to_pylist()], object)
    a, b = texts[pairs.a[pairs.mated]], texts[pairs.b[pairs.mated]]
    names, places = np.unique(np.where(a == b, a, MIXED).astype(str), return_inverse=True)
    return names.tolist(), places
