"""Score files of the original tools (lines `path score`): written from a quality table, and a table made from one."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.sources import Qualities
from fiqa_core.storage import open_read
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import checked, damage_named, read_part
from fiqa_core.wording import counted
from schemas import provenance
from schemas.reasons import Status

UNSCORED = ("error", "leave-out", "nan")
_BREAKS = r"[\n\r]|^\s|\s$"


@dataclass
class Written:
    """What was written: `lines`; and `without` score, by reason code, that were left out or written as `nan`."""

    lines: int = 0
    without: Counter[str] = field(default_factory=Counter)


def write_scores(parts: Sequence[TableFile], path: Path, unscored: str = "error") -> Written:
    """Write a line `key score` for every row of a table, in its order.

    Args:
        unscored: what becomes of rows without a score: `error`, `leave-out`, or `nan` (a line `key nan`). Rows that
            stand for the rest of a shard have no key and are counted in either case.

    Raises:
        EvaluationError: rows without a score (`error`), a key that a line cannot hold, or a key that two rows have.
    """
    found = Written()
    hashes: list[np.ndarray] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        for part in parts:
            for batch in read_part(part, ["key", "quality", "status"]):
                keys, quality, status = (batch.column(name) for name in ("key", "quality", "status"))
                keys = keys.cast(pa.string())
                _refuse_unwritable(keys, part.url)
                values = pc.fill_null(quality.cast(pa.float32()), np.nan).to_numpy(zero_copy_only=False)
                hashes.append(pd.util.hash_array(pc.fill_null(keys.drop_null(), "").to_numpy(zero_copy_only=False)))
                _write_lines(file, keys.to_pylist(), values, status.cast(pa.string()).to_pylist(), unscored, found)
    if found.without and unscored == "error":
        each = ", ".join(f"{code} {count:,}" for code, count in found.without.most_common())
        raise EvaluationError(
            f"{counted(found.without.total(), 'row has', 'rows have')} no score ({each}), and a score file has no "
            "place for the reason. Leave them out (--unscored leave-out), or write them as nan (--unscored nan)."
        )
    every = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
    repeated = len(every) - len(np.unique(every))
    if repeated:
        raise EvaluationError(
            f"{counted(repeated, 'row has', 'rows have')} a key that another row has too, and a score file tells "
            "images by their keys only. Export such parts of the dataset one by one."
        )
    return found


def write_listed_scores(scores: Qualities, names: Sequence[str], path: Path, unscored: str = "error") -> Written:
    """Write a line `name score` for every name of a list, in its order; names find keys as in evaluations (`KeyIndex`).

    Raises:
        EvaluationError: a name that no row has, or (`error`) whose row has no score.
    """
    found = Written()
    values = scores.of(names, "the list").astype(np.float32)
    with path.open("w", encoding="utf-8", newline="") as file:
        codes = ["no score" if np.isnan(value) else Status.SCORED.value for value in values]
        _write_lines(file, list(names), values, codes, unscored, found)
    if found.without and unscored == "error":
        first = names[int(np.flatnonzero(np.isnan(values))[0])]
        raise EvaluationError(
            f"{counted(found.without.total(), 'listed image has', 'listed images have')} no score, the first is "
            f"{first!r}. Leave them out (--unscored leave-out), or write them as nan (--unscored nan)."
        )
    return found


def table_of(scores: Qualities) -> pa.Table:
    """A quality table of a score file: `key`, `quality` and `status`, which evaluations and notebooks take."""
    values = scores.values.astype(np.float32)
    known = np.isfinite(values)
    return pa.table(
        {
            "key": scores.index.keys,
            "quality": pa.array(values, mask=~known),
            "status": pa.array(np.where(known, Status.SCORED.value, Status.NON_FINITE.value)).dictionary_encode(),
        }
    )


@dataclass
class Joined:
    """How scores were put in place of a table's: `rows` that have one, `unused` scores that no row has."""

    rows: int = 0
    unused: int = 0


def tables_like(
    parts: Sequence[TableFile], scores: Qualities, digest: str, found: Joined
) -> Iterator[tuple[str, pa.Table]]:
    """The files of a quality table with these scores in place of its own: their names, and their rows.

    Keys, shards, digests and labels stay, so that such a table can be filtered and its images be written. A row that
    had no score (its image cannot be used) has none here either.

    Args:
        digest: SHA-256 of the score file, which stands where the checkpoint's does. found: counts, complete when the
            last file was made.

    Raises:
        EvaluationError: a scored row of the table that the scores do not have, or a score that is not finite.
    """
    used = np.zeros(len(scores.index), bool)
    for part in parts:
        names = [name for name in part.columns if name != "embedding"]
        table, metadata = _read(part, names)
        scored = pc.equal(table["status"].cast(pa.string()), Status.SCORED.value).to_numpy()
        keys = table["key"].cast(pa.string()).combine_chunks()
        rows = scores.index.require(keys.filter(pa.array(scored)), part.url)
        used[rows] = True
        quality = np.full(table.num_rows, np.nan, np.float32)
        quality[scored] = scores.values[rows]
        bad = np.flatnonzero(scored & ~np.isfinite(quality))
        if len(bad):
            raise EvaluationError(
                f"{scores.index.where}: the score of {keys[int(bad[0])].as_py()!r} is not a finite number, and its "
                "image was scored before. Give every such image a score."
            )
        found.rows += len(rows)
        column = pa.array(quality, mask=~scored)
        table = table.set_column(table.schema.get_field_index("quality"), "quality", column)
        yield part.name, table.replace_schema_metadata(_provenance(metadata, digest))
    found.unused = int((~used).sum())


def _read(part: TableFile, columns: Sequence[str]) -> tuple[pa.Table, dict[bytes, bytes]]:
    """Rows of a file, and its metadata."""
    with damage_named(part.url), open_read(part.url) as stream:
        file = checked(stream)
        return file.read(columns=list(columns)), dict(file.schema_arrow.metadata or {})


def _provenance(metadata: dict[bytes, bytes], digest: str) -> dict[bytes, bytes]:
    """What a file says of itself: the part of the dataset of the file that it was made from, and other scores."""
    settings = json.loads(metadata.get(provenance.SETTINGS, b"{}"))
    settings |= {"arch": "imported", "mode": "none", "checkpoint_sha256": digest}
    kept = {name: metadata[name] for name in (provenance.UNIT, provenance.LABELS) if name in metadata}
    return kept | {provenance.SETTINGS: json.dumps(settings, sort_keys=True).encode(), provenance.NETWORK: b"imported"}


def _write_lines(
    file: TextIO, keys: Sequence[str | None], values: np.ndarray, status: Sequence[str], unscored: str, found: Written
) -> None:
    lines = []
    for key, value, code in zip(keys, values, status, strict=True):
        if np.isnan(value):
            found.without[code] += 1
        if key is None or (np.isnan(value) and unscored != "nan"):
            continue
        lines.append(f"{key} {value!s}\n")  # the digits that a float32 has
    file.write("".join(lines))
    found.lines += len(lines)


def _refuse_unwritable(keys: pa.Array, url: str) -> None:
    odd = pc.fill_null(pc.match_substring_regex(keys, _BREAKS), False)
    if pc.any(odd).as_py():
        key = keys.filter(odd)[0].as_py()
        raise EvaluationError(
            f"{url}: the key {key!r} has a line break in it, or spaces at an end, which a line of a score file cannot "
            "hold. Export such a table --to csv."
        )
