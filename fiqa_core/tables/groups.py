"""Which group each row belongs to, by the user's own attributes: a column of the table, or a file key -> group."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fiqa_core.storage import stat
from fiqa_core.tables.attached_labels import AttachedLabels, ColumnOptions, read_label_list
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_part

DEFAULT_COLUMN = "group"


@dataclass(frozen=True)
class Groups:
    """Where groups come from. `name`: the column; `file`: groups by key, None where it is a column of the table."""

    name: str
    file: AttachedLabels | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """What decides the groups, for the account of a run."""
        return (self.name,) if self.file is None else (self.name, self.file.digest)


def read_groups(
    given: str, parts: Sequence[TableFile], key_column: str = "", group_column: str = DEFAULT_COLUMN
) -> Groups:
    """What `--group-by` names: a column that every file of the table has, else a file.

    Raises:
        TableError: neither; or a file without these columns, with a key in two groups, or without a key of the table.
    """
    if parts and all(given in part.columns for part in parts):
        return Groups(given)
    if stat(given) is None:
        columns = ", ".join(parts[0].columns) if parts else ""
        raise TableError(
            f"--group-by {given}: neither a column of the table nor a file. The table has {columns}; a file is CSV or "
            "Parquet with a key and a group in each row."
        )
    options = ColumnOptions("--group-key", "--group-column")
    listed = read_label_list(given, key_column, group_column or DEFAULT_COLUMN, options)
    for without_ending in (False, True):
        groups = Groups(group_column or DEFAULT_COLUMN, AttachedLabels(listed, without_ending))
        if any(batch.column("group").null_count < batch.num_rows for batch in group_batches(parts, groups)):
            return groups
    raise TableError(
        f"--group-by {given}: none of its keys is a key of the table. Name its column of keys: --group-key"
    )


def group_batches(parts: Sequence[TableFile], groups: Groups) -> Iterator[pa.RecordBatch]:
    """`rid` and `group` (text; null: none) of every row, in order."""
    for part in parts:
        first = part.first
        column = "key" if groups.file is not None else groups.name
        # A column of the table is what is stored there, also where labels were attached.
        for batch in read_part(part if column == "label" else replace(part, labels=None), [column]):
            values = batch.column(column)
            if pa.types.is_nested(values.type):
                raise TableError(f"{part.url}: --group-by {column}: is {values.type}, expected text or numbers")
            texts = values.cast(pa.string())
            found = texts if groups.file is None else groups.file.of(texts)
            yield pa.RecordBatch.from_arrays([pa.array(np.arange(first, first + batch.num_rows)), found], schema=SCHEMA)
            first += batch.num_rows


SCHEMA = pa.schema([("rid", pa.int64()), ("group", pa.string())])
