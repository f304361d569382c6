"""Whether table files can be used together: scores of one network, and every record only once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.shards.formats import index_moves
from fiqa_core.storage import open_read
from fiqa_core.tables.footers import Footer
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.row_batches import checked
from fiqa_core.wording import one_line
from schemas.reasons import SHARD_LEVEL

_SHOWN = 5
# These settings change which images are admitted, or extra columns, but not the embedding of an admitted image.
# Whether a set had to be aligned does not either: its faces are compared with those of a set that is aligned already.
_NOT_OF_EMBEDDINGS = {
    "read", "min_side", "max_side", "max_pixels", "channel_order", "embeddings", "phash", "align", "sample",
    "calibration", "exit", "fuse", "measures",
}  # fmt: skip


# What a calibration makes comparable: scores of networks that were calibrated on one set by one judge.
_COMPARABLE = ("set", "set_digest", "judge", "fmr")
# With a calibration networks may differ in these, and in nothing that decides which images are admitted.
_OF_NETWORK = {"arch", "mode", "checkpoint_sha256", "precision", "onnx", "preprocessing", "batch_size", "compiled"}
_OF_NETWORK |= {"exit", "fuse", "measures"}
_OF_NETWORK |= {"embeddings", "embedding_dim", "flip", "phash"}


def refuse_mixed(
    files: Sequence[Footer], names: Mapping[str, str], embeddings_only: bool, calibrated: bool = False
) -> None:
    """Refuse files whose scores were made with different settings: a quantile over two scales has no meaning.

    Args:
        files: of all tables. names: how the user named the table, by the URL of the file.
        embeddings_only: compare only what changes an embedding; tables of several datasets may differ in what they
            admitted.
        calibrated: scores of different networks are allowed if all were calibrated on one set by one judge.

    Raises:
        TableError: it names the settings and both values.
    """
    calibrated = calibrated and all(_calibration(file) is not None for file in files if file.settings is not None)
    first: Footer | None = None
    for file in files:
        if file.settings is None:
            continue
        first = first or file
        then, now = (_compared(each, embeddings_only, calibrated) for each in (first, file))
        if then != now:
            a, b = (_table_name(each, names) for each in (first, file))
            lines = [
                f"{name}: {then.get(name, 'none')} in {a}, {now.get(name, 'none')} in {b}"
                for name in sorted(then.keys() | now.keys())
                if then.get(name) != now.get(name)
            ]
            raise TableError.of_lines(
                [
                    "the tables were made with different networks or settings, so their numbers are not on one scale:",
                    *(f"  {line}" for line in lines[: 2 * _SHOWN]),
                    "Name tables of one network only, score the others again with the same settings, or calibrate both "
                    "networks on one set (docs/calibration.md).",
                ]
            )


def refuse_twice(files: Sequence[Footer], names: Mapping[str, str]) -> None:
    """Refuse tables that hold the same record (shard and place in it) twice.

    Several tables are meant for several runs over a dataset that grew, each with its own shards. Only shards that are
    in more than one run are read; for files that do not name their unit, every row is read.

    Raises:
        TableError: it names the first of them.
    """
    own = [file for file in files if file.unit is not None and file.places]
    folders: dict[str, set[str]] = {}
    for file in own:
        folders.setdefault(str((file.unit or {}).get("url")), set()).add(file.folder)
    again = [file for file in own if len(folders[str((file.unit or {}).get("url"))]) > 1]
    _refuse_equal(again, names, by_unit=True)
    foreign = [file for file in files if file.unit is None and file.places]
    if foreign:
        shards = set().union(*(_shards(file) for file in foreign))
        _refuse_equal(foreign + [file for file in own if _shards(file) & shards], names, by_unit=False)


def _refuse_equal(files: Sequence[Footer], names: Mapping[str, str], by_unit: bool) -> None:
    hashes = [pd.util.hash_pandas_object(_identities(file, by_unit), index=False).to_numpy() for file in files]
    if not hashes:
        return
    every = np.sort(np.concatenate(hashes))
    repeated = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(repeated):
        return
    shown, count = _equal_rows(files, hashes, repeated, names, by_unit)
    if count:
        raise TableError.of_lines(
            [
                f"the same records are in the tables twice, {count:,} of them:",
                *(f"  {line}" for line in shown),
                "Name each part of the dataset once: leave one of the tables out. (A set that grew is scored in "
                "several runs, each of the new shards only.)",
            ]
        )


def _equal_rows(
    files: Sequence[Footer], hashes: Sequence[np.ndarray], repeated: np.ndarray, names: Mapping[str, str], by_unit: bool
) -> tuple[list[str], int]:
    """The first records that are equal (not only their hashes) as text, and how many there are."""
    seen: dict[tuple[Any, ...], str] = {}
    shown: list[str] = []
    count = 0
    for file, own in zip(files, hashes, strict=True):
        places = np.flatnonzero(np.isin(own, repeated))
        if not len(places):
            continue
        rows = _identities(file, by_unit).iloc[places]
        for row in rows.itertuples(index=False, name=None):
            other = seen.setdefault(row, file.url)
            if other is file.url:
                continue
            count += 1
            if len(shown) < _SHOWN:
                a, b = names.get(other, other), names.get(file.url, file.url)
                where = f"in {a} and in {b}" if a != b else f"in {other} and in {file.url}"
                shown.append(f"{row[0]}, {' '.join(str(value) for value in row[1:] if value is not None)}: {where}")
    return shown, count


def _identities(file: Footer, by_unit: bool) -> pd.DataFrame:
    """The identity of each record of a file; rows that stand for the rest of a shard are left out."""
    unit = file.unit or {}
    # In a folder, an added file changes the index of later files, but not their paths.
    columns = (["key"] if index_moves(unit.get("container")) else ["index"]) if by_unit else ["shard", "index", "key"]
    table = _read(file.url, [*columns, "status"])
    if "status" in table.column_names:
        broken = pc.is_in(table["status"].cast(pa.string()), pa.array([str(code) for code in SHARD_LEVEL]))
        table = table.filter(pc.invert(broken))
    found = {name: table[name].to_pandas() for name in columns if name in table.column_names}
    if by_unit:
        found = {"url": pd.Series([str(unit.get("url"))] * table.num_rows, dtype=object)} | found
    return pd.DataFrame({name: values.astype(object) for name, values in found.items()})


def _shards(file: Footer) -> set[str]:
    table = _read(file.url, ["shard"])
    if "shard" not in table.column_names:
        return set()
    return {str(name) for name in pc.unique(table["shard"].cast(pa.string())).to_pylist()}


def _read(url: str, columns: Sequence[str]) -> pa.Table:
    try:
        with open_read(url) as stream:
            file = checked(stream)
            return file.read(columns=[name for name in columns if name in file.schema_arrow.names])
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # the store failed; for a damaged file Arrow raises a bare OSError
        raise TableError(f"{url}: damaged ({one_line(error, 200)}). Write it again.") from error


def _table_name(file: Footer, names: Mapping[str, str]) -> str:
    return names.get(file.url, file.url)


def networks_of(files: Sequence[Footer]) -> int:
    """Number of networks whose scores are in the files (`checkpoint_sha256` and mode, exit and fusion)."""
    known = [file.settings for file in files if file.settings is not None]
    return len(
        {
            (each.get("arch"), each.get("mode"), each.get("checkpoint_sha256"), each.get("exit"), each.get("fuse"))
            for each in known
        }
    )


def _calibration(file: Footer) -> Mapping[str, Any] | None:
    found = (file.settings or {}).get("calibration")
    return found if isinstance(found, Mapping) else None


def _compared(file: Footer, embeddings_only: bool, calibrated: bool) -> dict[str, Any]:
    settings = file.settings or {}
    if not calibrated:
        return _flat(settings, embeddings_only)
    calibration = _calibration(file) or {}
    own = {name: value for name, value in settings.items() if name not in _OF_NETWORK}
    return _flat(own | {"calibration": {name: calibration.get(name) for name in _COMPARABLE}}, embeddings_only)


def _flat(settings: Mapping[str, Any], embeddings_only: bool) -> dict[str, Any]:
    return dict(_pairs(settings, embeddings_only))


def _pairs(settings: Mapping[str, Any], embeddings_only: bool) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if embeddings_only and name in _NOT_OF_EMBEDDINGS:
            continue
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield name, value
