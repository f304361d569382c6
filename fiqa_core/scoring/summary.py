"""The content of a unit's file as a few numbers that can be added up in any order on any runner."""

import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.scoring.label_counts import LabelCounts, add, count_labels, label_report
from fiqa_core.scoring.losses import Loss, described, kept, losses_in
from fiqa_core.scoring.picture_counts import PictureCounts, add_pictures, count_pictures, picture_report
from schemas.reasons import SHARD_LEVEL

# Quantiles come from the qualities whose hash of (shard, index) is smallest: a uniform sample that does not
# depend on units or runner, and contains every score as long as there are not more than this.
SAMPLE_SIZE = 8192
# Kept as bytes: a thousand samples cross the edges of a job, and as Python objects each would cost a megabyte.
_PAIR = np.dtype([("hash", "<u8"), ("quality", "<f4")])
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Summary:
    """Counts of one unit or of many.

    `rows` are counted by `status`; `units` is a bit mask of unit numbers, which shows units that are missing or
    counted twice; `failures` names units without a file; `scored_now`/`rows_now` count what
    this run did itself (without files kept from an earlier run); `seconds` is worker time; `sample` is an array of
    (hash, quality) pairs, in that order, as bytes; `losses` are the stretches of shards that were not read (the first
    of them, `losses.MOST_LOSSES`); `labels` counts labels and their identities;
    `pictures` counts sizes and aligned faces.
    """

    rows: int = 0
    status: dict[str, int] = field(default_factory=dict)
    quality_sum: float = 0.0
    quality_min: float = float("inf")
    quality_max: float = float("-inf")
    sample: bytes = b""
    units: int = 0
    repeated: int = 0
    rows_now: int = 0
    seconds: float = 0.0
    failures: tuple[tuple[int, str, str], ...] = ()
    losses: tuple[Loss, ...] = ()
    labels: LabelCounts = field(default_factory=LabelCounts)
    pictures: PictureCounts = field(default_factory=PictureCounts)


def summarise(table: pa.Table) -> Summary:
    """Summary of rows of the quality table (columns shard, index, quality, status, message, label)."""
    counts = table["status"].cast(pa.string()).value_counts().to_pylist()
    quality = table["quality"].to_numpy(zero_copy_only=False).astype(np.float64)
    known = ~np.isnan(quality)
    scored = quality[known]
    pairs = np.empty(len(scored), _PAIR)
    pairs["hash"], pairs["quality"] = _hashes(table)[known], scored
    return Summary(
        rows=table.num_rows,
        status={entry["values"]: entry["counts"] for entry in counts},
        quality_sum=float(scored.sum()),
        quality_min=float(scored.min(initial=np.inf)),
        quality_max=float(scored.max(initial=-np.inf)),
        sample=_smallest(pairs),
        losses=losses_in(table) if any(entry["values"] in SHARD_LEVEL for entry in counts) else (),
        labels=_labels(table),
        pictures=count_pictures(table),
    )


def _labels(table: pa.Table) -> LabelCounts:
    if "label" not in table.column_names:
        return LabelCounts()
    lost = pc.is_in(table["status"].cast(pa.string()), pa.array([status.value for status in SHARD_LEVEL]))
    return count_labels(table["label"].filter(pc.invert(lost)))


def merge(a: Summary, b: Summary) -> Summary:
    """The sum of two summaries; associative and commutative."""
    status = dict(a.status)
    for name, count in b.status.items():
        status[name] = status.get(name, 0) + count
    return Summary(
        rows=a.rows + b.rows,
        status=status,
        quality_sum=a.quality_sum + b.quality_sum,
        quality_min=min(a.quality_min, b.quality_min),
        quality_max=max(a.quality_max, b.quality_max),
        sample=_smallest(np.frombuffer(a.sample + b.sample, _PAIR)) if a.sample and b.sample else a.sample or b.sample,
        units=a.units | b.units,
        repeated=a.repeated + b.repeated + (a.units & b.units).bit_count(),
        rows_now=a.rows_now + b.rows_now,
        seconds=a.seconds + b.seconds,
        failures=tuple(sorted(a.failures + b.failures)),
        losses=kept(a.losses + b.losses),
        labels=add(a.labels, b.labels),
        pictures=add_pictures(a.pictures, b.pictures),
    )


def of_unit(summary: Summary, number: int, seconds: float, kept: bool) -> Summary:
    """The summary of one finished unit; `kept`: its file is an earlier run's."""
    return replace(summary, units=1 << number, rows_now=0 if kept else summary.rows, seconds=seconds)


def failed_unit(number: int, shard: str, reason: str, seconds: float) -> Summary:
    """The summary of a unit that failed."""
    return Summary(units=1 << number, failures=((number, shard, reason),), seconds=seconds)


def report(summary: Summary) -> dict[str, Any]:
    """The numbers people read, for `summary.json`."""
    scored = summary.status.get("scored", 0)
    quality: dict[str, Any] = {"higher_is": "more useful for face recognition"}
    if summary.sample:  # empty if nothing was scored, and for a network without quality head
        values = np.frombuffer(summary.sample, _PAIR)["quality"].astype(np.float64)
        quality |= {
            "mean": summary.quality_sum / scored,
            "min": summary.quality_min,
            "max": summary.quality_max,
            "quantiles": {str(q): float(v) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)},
            "quantiles_from": "all scores" if scored <= SAMPLE_SIZE else f"a uniform sample of {SAMPLE_SIZE} scores",
        }
    failures = [{"unit": n, "shard": shard, "reason": reason} for n, shard, reason in summary.failures]
    return {
        "records": summary.rows,
        "status": dict(sorted(summary.status.items())),
        "quality": quality,
        "labels": label_report(summary.labels),
        "pictures": picture_report(summary.pictures),
        "failed_units": failures,
        "shards_broken_off": described(summary.losses),
    }


def _smallest(pairs: np.ndarray) -> bytes:
    if len(pairs) > SAMPLE_SIZE:
        pairs = pairs[np.argpartition(pairs["hash"], SAMPLE_SIZE - 1)[:SAMPLE_SIZE]]
    return bytes(pairs[np.lexsort((pairs["quality"], pairs["hash"]))].tobytes())


def _hashes(table: pa.Table) -> np.ndarray:
    shards = table["shard"].combine_chunks().dictionary_encode()
    seeds = np.array([zlib.crc32(name.encode()) for name in shards.dictionary.to_pylist()] or [0], np.uint64)
    x = (seeds[shards.indices.to_numpy()] << np.uint64(32)) ^ table["index"].to_numpy().astype(np.uint64)
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014): neighbours get unrelated numbers.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
