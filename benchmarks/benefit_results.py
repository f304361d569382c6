"""Results of `benchmarks.benefit`: a Parquet file of one row for each finished training, and tables made of them."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.benefit_conditions import FLIPS, QUALITY, Job
from benchmarks.benefit_verification import FMRS, MEASURES, Measured
from fiqa_core.evaluation.bootstrap import interval

ROWS = "trainings"
_SEED = 7  # of the draws of seeds in the bands


def is_done(output: Path, job: Job) -> bool:
    """Whether the training's row is there."""
    return _path(output, job).exists()


def store(output: Path, job: Job, counts: dict[str, float], measured: Measured) -> None:
    """Write the row of a finished training; a file that is there is whole."""
    row: dict[str, object] = {**job._asdict(), **counts}
    for place, name in enumerate(MEASURES):
        row[name] = float(measured.values[place])
        row[f"samples_{name}"] = measured.samples[:, place].astype(np.float32).tolist()
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), stream)
    write_whole(_path(output, job), stream.getvalue())


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that other processes see either whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)


def read(output: Path) -> pd.DataFrame:
    """All rows, sorted by kind, share, condition and seed; `samples_*` are lists of float32."""
    rows = [pd.read_parquet(path) for path in sorted((output / ROWS).glob("*.parquet"))]
    if not rows:
        raise SystemExit(f"{output / ROWS}: no training has finished yet")
    return pd.concat(rows, ignore_index=True).sort_values(["kind", "share", "condition", "seed"], ignore_index=True)


def _path(output: Path, job: Job) -> Path:
    return output / ROWS / f"{job.name}.parquet"


def compared(rows: pd.DataFrame, reference: pd.DataFrame, measure: str) -> tuple[float, float, float, int]:
    """Mean difference to the reference over the seeds that both have, its 95 % band, and how many seeds that are.

    A resample draws subjects (the same for both trainings of a seed) and seeds, both with replacement, so the band
    covers whom the networks are tested on and how they were trained. With three seeds the second part is rough.
    """
    both = rows.merge(reference, on="seed", suffixes=("", "_reference")).sort_values("seed")
    if not len(both):
        return np.nan, np.nan, np.nan, 0
    samples = np.stack(both[f"samples_{measure}"]) - np.stack(both[f"samples_{measure}_reference"])
    random = np.random.default_rng(_SEED)
    drawn = random.integers(0, len(both), (samples.shape[1], len(both)))
    means = samples[drawn, np.arange(samples.shape[1])[:, None]].mean(1)
    low, high = (float(end[0]) for end in interval(means[:, None]))
    return float((both[measure] - both[f"{measure}_reference"]).mean()), low, high, len(both)


def tables(rows: pd.DataFrame) -> Iterator[str]:
    """Markdown: verification of each condition, its difference to `as_is`, and what the product found."""
    clean = rows[(rows.kind == "flips") & (rows.share == 0)]
    yield from _head("labels flipped")
    yield _line("0 %, as_is", clean, clean)
    for share, block in rows[(rows.kind == "flips") & (rows.share > 0)].groupby("share"):
        as_is = block[block.condition == "as_is"]
        for condition in FLIPS:
            yield from _lines(f"{share:.0%}, {condition}", block[block.condition == condition], as_is)
    if (rows.kind == "quality").any():
        yield ""
        yield from _head("faces cut")
        yield _line("none", clean, clean)
        for share, block in rows[rows.kind == "quality"].groupby("share"):
            for condition in QUALITY:
                name = f"{share:.0%}, {condition}" if share else condition
                yield from _lines(name, block[block.condition == condition], clean)
    yield from _against_random(rows)
    found = rows[rows.precision.notna()]
    if len(found):
        yield ""
        yield from _found(found)


def _head(what: str) -> Iterator[str]:
    names = ["AUC", *(f"TAR at FMR {fmr:g}" for fmr in FMRS)]
    differences = " | ".join(f"{name} - as_is" for name in names)
    yield f"| {what} | seeds | faces | wrong labels left | {' | '.join(names)} | {differences} |"
    yield "|---" * (4 + 2 * len(names)) + "|"


def _lines(name: str, rows: pd.DataFrame, reference: pd.DataFrame) -> Iterator[str]:
    if len(rows):
        yield _line(name, rows, reference)


def _line(name: str, rows: pd.DataFrame, reference: pd.DataFrame) -> str:
    cells = [name, f"{len(rows)}", f"{rows.images.mean():,.0f}", f"{rows.wrong_left.mean():,.0f}"]
    cells += [f"{rows[measure].mean():.4f}" for measure in MEASURES]
    for measure in MEASURES:
        mean, low, high, seeds = compared(rows, reference, measure)
        is_itself = rows is reference or not seeds or (rows.condition.iloc[0] == "as_is")
        cells.append("" if is_itself else f"{mean:+.4f} [{low:+.4f} {high:+.4f}]")
    return f"| {' | '.join(cells)} |"


def _against_random(rows: pd.DataFrame) -> Iterator[str]:
    yield ""
    yield f"| less `random` | seeds | {' | '.join(MEASURES)} |"
    yield "|---" * (2 + len(MEASURES)) + "|"
    for (kind, share), block in rows.groupby(["kind", "share"]):
        for condition in ("product",) if kind == "flips" else ("worst", "best"):
            found = [
                compared(block[block.condition == condition], block[block.condition == "random"], measure)
                for measure in MEASURES
            ]
            if found[0][3]:
                cells = [f"{mean:+.4f} [{low:+.4f} {high:+.4f}]" for mean, low, high, _ in found]
                yield f"| {kind}, {share:.0%}, {condition} | {found[0][3]} | {' | '.join(cells)} |"


def _found(rows: pd.DataFrame) -> Iterator[str]:
    yield "| labels flipped | condition | seeds | faces dropped | precision | recall | new labels, of them right |"
    yield "|---" * 7 + "|"
    for (share, condition), block in rows.groupby(["share", "condition"]):
        cells = [f"{share:.0%}", condition, f"{len(block)}", f"{block.dropped.mean():,.0f}"]
        cells += [f"{block[name].mean():.3f}" for name in ("precision", "recall")]
        given = block.relabelled.sum()
        cells.append(f"{block.relabelled.mean():,.0f}, {block.relabelled_right.sum() / given:.3f}" if given else "0")
        yield f"| {' | '.join(cells)} |"
