"""Quality tables with made embeddings: people are random directions, images lie around them."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.quality import THUMB_BYTES, quality_schema


def unit(values: np.ndarray) -> np.ndarray:
    """Rows at unit length."""
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def people_images(
    people: int, images: int, dim: int = 64, spread: float = 0.6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 (people * images, dim), and the person of each."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((people, dim), np.float32))
    person = np.repeat(np.arange(people), images)
    noise = random.standard_normal((len(person), dim), np.float32) * np.float32(spread / dim**0.5)
    return unit(centres[person] + noise), person


def write_quality(
    folder: Path,
    labels: list[str | None],
    embeddings: np.ndarray | None,
    rows_a_file: int = 1000,
    sha256: list[bytes] | None = None,
    phash: np.ndarray | None = None,
    thumb: np.ndarray | None = None,
    without_thumb: Collection[int] = (),
    quality: np.ndarray | None = None,
) -> Path:
    """`folder/quality/part-*.parquet`; returns the folder."""
    rows = len(labels)
    (folder / "quality").mkdir(parents=True)
    schema = quality_schema(
        "float16" if embeddings is not None else "none", 0 if embeddings is None else embeddings.shape[1], storage=False
    )
    digests = sha256 or [hashlib.sha256(b"%d" % place).digest() for place in range(rows)]
    scores = np.linspace(0.5, 1, rows, dtype=np.float32) if quality is None else quality.astype(np.float32)
    for number, start in enumerate(range(0, rows, rows_a_file)):
        stop = min(rows, start + rows_a_file)
        count = stop - start
        columns = {
            "key": [f"k{place}" for place in range(start, stop)],
            "shard": ["s"] * count,
            "index": np.arange(start, stop),
            "label": pa.array(labels[start:stop], pa.string()),
            "quality": scores[start:stop],
            "status": pa.array(["scored"] * count).dictionary_encode(),
            "message": pa.nulls(count, pa.string()),
            "width": pa.nulls(count, pa.int32()),
            "height": pa.nulls(count, pa.int32()),
            "sha256": digests[start:stop],
        }
        if embeddings is not None:
            flat = pa.array(embeddings[start:stop].astype(np.float16).ravel())
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type)
        table = pa.table(columns, schema=schema)
        if phash is not None:
            table = table.append_column("phash", pa.array(phash[start:stop], pa.uint64()))
        if thumb is not None:
            values = [None if row in without_thumb else thumb[row].tobytes() for row in range(start, stop)]
            table = table.append_column("thumb", pa.array(values, pa.binary(THUMB_BYTES)))
        pq.write_table(table, folder / "quality" / f"part-{number:06d}.parquet")
    return folder
