"""The earliest exit of a ViT whose decisions are those of the whole network, found on a sample.

A sample cannot show every rule: what compares the rows of one identity, or needs embeddings, is left out. What is left
is the absolute threshold, the share that is dropped, the size of the dataset, and the rules that look at one row.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.decisions.conditions import load_matches, row_conditions
from fiqa_core.curation.decisions.database import Findings, load_findings, load_rows, open_database
from fiqa_core.curation.decisions.policy import ROW_RULES, Policy
from fiqa_core.curation.decisions.rules import decide
from fiqa_core.networks.exits import ExitError
from fiqa_core.settings.fields import replaced
from fiqa_core.tables.quality_files import parts_of
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_ALSO = {("quality", "drop_fraction"), ("quality", "action"), ("quality", "found_weight"), ("labels", "drop_missing")}
_NO_DECISION = {"near", "overlap", "tiers", "weights"}  # sections that decide nothing about one table's own scores


@dataclass(frozen=True)
class FoundExit:
    """What was found on a sample.

    Attributes:
        exit: number of the block, from 1. depth: blocks of the network.
        agreement: for each exit, the share of scored rows about which it decides as the last one does.
        rows: scored rows of the sample. dropped: share of them that the full network's scores drop (or mark).
    """

    exit: int
    depth: int
    agreement: tuple[float, ...]
    rows: int
    dropped: float

    def in_words(self) -> str:
        """The finding, the other exits, and what unrelated scores would reach, in one paragraph."""
        chance = self.dropped**2 + (1 - self.dropped) ** 2
        others = ", ".join(f"{block}: {100 * share:.1f}" for block, share in enumerate(self.agreement, start=1))
        return (
            f"exit {self.exit} of {self.depth}: on a sample of {counted(self.rows, 'image')}, of which the policy "
            f"drops {100 * self.dropped:.1f} %, its decisions are those of the whole network for "
            f"{100 * self.agreement[self.exit - 1]:.1f} % (unrelated scores: about {100 * chance:.1f} %). "
            f"All exits, in %: {others}"
        )


def find_exit(table: Sequence[str], policy: Policy, share: float, whole: int | None, folder: Path) -> FoundExit:
    """The earliest exit whose decisions agree with the last one's for at least this share of the scored rows.

    Args:
        table: files of a quality table whose column `embedding` has the scores of all exits (`scoring.every_exit`).
        whole: rows of the dataset that it is a sample of, for a policy with a target size; None: not known.
        folder: a local folder for nothing else.

    Raises:
        ExitError: nothing was scored, or the policy drops nothing of the sample because of its score.
    """
    rows, scores = _sample(table)
    judged = judged_by_sample(policy, rows.num_rows, whole)
    kept = [_kept(rows, scores[:, exit_], judged, folder) for exit_ in range(scores.shape[1])]
    scored = np.isfinite(scores[:, -1])
    last = kept[-1][scored]
    if last.all() or not last.any():
        raise ExitError(
            f"--exit auto: of {counted(int(scored.sum()), 'scored image')} in the sample the policy drops "
            f"{'none' if last.all() else 'all'}, so its decisions do not tell exits apart. Give a policy that drops a "
            "share of the images (--drop-worst 0.05), or name the exit."
        )
    agreement = tuple(float((each[scored] == last).mean()) for each in kept)
    earliest = next(place for place, found in enumerate(agreement, start=1) if found >= share)
    return FoundExit(earliest, len(agreement), agreement, int(scored.sum()), float(1 - last.mean()))


def judged_by_sample(policy: Policy, rows: int, whole: int | None) -> Policy:
    """The part of a policy that a sample of `rows` rows can show; what is left out is logged.

    Raises:
        ExitError: it has a target size, and the size of the dataset is not known.
    """
    judged = {(section, key) for section, key, _ in ROW_RULES} | _ALSO
    values: dict[str, dict[str, Any]] = {}
    for section, key in judged:
        values.setdefault(section, {})[key] = getattr(getattr(policy, section), key)
    if policy.size.target is not None:
        if not whole:
            raise ExitError("--exit auto: the policy has a target size, and the number of all images is not known")
        values["size"] = {"target": max(1, round(policy.size.target * min(1.0, rows / whole)))}
    left_out = _left_out(policy, judged | {("size", "target")})
    if left_out:
        _log.warning("--exit auto: a sample cannot show these rules, so they are left out: %s", ", ".join(left_out))
    return replaced(Policy(), values)


def _left_out(policy: Policy, judged: set[tuple[str, str]]) -> list[str]:
    """The settings that were given and are not looked at, as `section.key`."""
    usual = Policy()
    return [
        f"{section.name}.{item.name}"
        for section in fields(Policy)
        if section.name not in _NO_DECISION
        for item in fields(getattr(usual, section.name))
        if (section.name, item.name) not in judged
        and getattr(getattr(policy, section.name), item.name) != getattr(getattr(usual, section.name), item.name)
    ]


def _sample(table: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
    """The rows without their scores, and the scores, float32 (rows, depth), NaN where there is none."""
    parts = [pq.read_table(url) for url in table]
    if not parts or not sum(part.num_rows for part in parts):
        raise ExitError("--exit auto: no image of the sample could be read. Check --input, or name the exit.")
    rows = pa.concat_tables(parts).combine_chunks()
    flat = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    scores = np.asarray(flat, np.float32).reshape(rows.num_rows, -1)
    if not np.isfinite(scores[:, -1]).any():
        raise ExitError("--exit auto: no image of the sample has a score. Check --input, or name the exit.")
    return rows.drop_columns(["embedding"]), scores


def _kept(rows: pa.Table, scores: np.ndarray, policy: Policy, folder: Path) -> np.ndarray:
    """Whether each row would be kept (and not marked) with these scores, bool (rows,), decided as the filter does."""
    place = rows.column_names.index("quality")
    quality = pa.array(scores, pa.float32(), mask=~np.isfinite(scores))
    file = folder / "exit.parquet"
    pq.write_table(rows.set_column(place, "quality", quality), file)
    own = parts_of([str(file)])
    with open_database(folder, rows=rows.num_rows) as db:
        load_rows(db, own, ())
        load_findings(db, Findings(), rows.num_rows, rows.num_rows)
        texts = policy.quality.drop_where
        load_matches(db, texts, row_conditions(texts, own, None) if texts else None)
        decide(db, policy)
        kept = db.execute("SELECT reason = 0 AND NOT found FROM state ORDER BY rid").fetchnumpy()
    (column,) = kept.values()
    return np.asarray(column, bool)
