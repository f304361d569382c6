"""Small quality tables and findings as files, in the formats that the package itself writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.quality import quality_schema


def frame(
    qualities: Sequence[float | None],
    labels: Sequence[str | None] | None = None,
    shas: Sequence[int | None] | None = None,
    verdicts: Sequence[str | None] | None = None,
    first: int = 0,
    genuine: Sequence[float] | None = None,
    nearest: Sequence[float] | None = None,
    shapes: Sequence[tuple[int, float, int]] | None = None,
) -> pd.DataFrame:
    """Rows as the reference takes them; by default one identity, all bytes different, labels not judged.

    Judged rows: cosine 0.25 to their own centre, 0.75 (or `nearest`) to another, none (or `genuine`) to images.
    `shapes`: side, quantisation and bytes of each stored image.
    """
    rows = len(qualities)
    shapes = [(112, 4.5, 3000)] * rows if shapes is None else shapes
    return pd.DataFrame(
        {
            "rid": np.arange(first, first + rows),
            "label": pd.Series(["a"] * rows if labels is None else list(labels), dtype=object),
            "quality": pd.Series(list(qualities), dtype=float),
            "sha": pd.Series([1000 + first + i for i in range(rows)] if shas is None else list(shas), dtype=object),
            "verdict": pd.Series([None] * rows if verdicts is None else list(verdicts), dtype=object),
            "centre": np.full(rows, 0.25, np.float32),
            "genuine": np.array([np.nan] * rows if genuine is None else genuine, np.float32),
            "nearest": np.array([0.75] * rows if nearest is None else nearest, np.float32),
            "pixels": np.array([side * side for side, _, _ in shapes], np.int64),
            "quantisation": np.array([step for _, step, _ in shapes], float),
            "bytes": np.array([size for _, _, size in shapes], np.int64),
        }
    )


def write_quality(folder: Path, rows: pd.DataFrame, per_file: int = 1000, prefix: str = "k") -> Path:
    """The rows as the files of a quality table; a row without a quality is `truncated`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, max(1, len(rows)), per_file)):
        part = rows.iloc[start : start + per_file]
        scored = part.quality.notna()
        columns = {
            "key": [f"{prefix}{rid}" for rid in part.rid],
            "shard": ["s.tar"] * len(part),
            "index": part.rid.to_numpy(),
            "label": [None if pd.isna(label) else label for label in part.label],
            "quality": pa.array(part.quality.to_numpy(np.float32), mask=~scored.to_numpy()),
            "status": pa.array(np.where(scored, "scored", "truncated").astype(str), pa.string()).dictionary_encode(),
            "message": pa.nulls(len(part), pa.string()),
            "width": np.sqrt(part.pixels.to_numpy()).astype(np.int32),
            "height": np.sqrt(part.pixels.to_numpy()).astype(np.int32),
            "bytes": part.bytes.to_numpy(),
            "quantisation": part.quantisation.to_numpy(np.float32),
            "sha256": [None if pd.isna(sha) else int(sha).to_bytes(32, "big") for sha in part.sha],
        }
        pq.write_table(pa.table(columns, schema=quality_schema()), folder / f"part-{number:06d}-0123456789ab.parquet")
    return folder


def write_labels(folder: Path, rows: pd.DataFrame) -> Path:
    """Findings about the labels of the rows that have a verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = rows[rows.verdict.notna()]
    columns = {
        "rid": pa.array(judged.rid.to_numpy(), pa.int64()),
        "centre_cosine": pa.array(judged.centre.to_numpy()),
        "genuine_cosine": pa.array(judged.genuine.to_numpy(), from_pandas=True),
        "nearest_label": pa.array(["b"] * len(judged), pa.string()),
        "nearest_cosine": pa.array(judged.nearest.to_numpy(), from_pandas=True),
        "label_verdict": pa.array(judged.verdict.tolist(), pa.string()),
    }
    pq.write_table(pa.table(columns), folder / "labels-000000.parquet")
    return folder


def write_pairs(folder: Path, pairs: pd.DataFrame) -> Path:
    """Findings of near pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "a": pa.array(pairs.a.to_numpy(), pa.int64()),
        "b": pa.array(pairs.b.to_numpy(), pa.int64()),
        "similarity": pa.array(pairs.similarity.to_numpy(), pa.float32()),
        "kind": pa.array(pairs.kind.tolist(), pa.string()),
    }
    if "crowd" in pairs:
        columns["crowd"] = pa.array(pairs.crowd.to_numpy(), pa.int64(), mask=(pairs.crowd < 0).to_numpy())
    pq.write_table(pa.table(columns), folder / "pairs-000000.parquet")
    return folder


def no_pairs() -> pd.DataFrame:
    """No findings of pairs."""
    return pd.DataFrame({"a": [], "b": [], "similarity": [], "kind": []}).astype({"a": int, "b": int})
