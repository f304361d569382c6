"""`removed.csv`: the rows that are not kept, for people to read: the reason, and the numbers behind it."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core import storage
from fiqa_core.curation.csv_cells import defused, defused_column
from fiqa_core.curation.decisions.reason_codes import REASONS
from fiqa_core.curation.decisions.written_conditions import DROP_WHERE
from fiqa_core.tables.run_gaps import Gap
from schemas.drops import Drop

COLUMNS = (
    "key", "shard", "index", "label", "quality", "reason", "quality_quantile", "identity_quantile", "identity_images",
    "centre_cosine", "nearest_label", "nearest_cosine", "duplicate_of", "duplicate_of_shard", "duplicate_of_index",
    "duplicate_similarity",
)  # fmt: skip
_NAMES = ("key", "shard", "label", "nearest_label", "duplicate_of", "duplicate_of_shard")


class RemovedFile:
    """Writes the file (RFC 4180, UTF-8) row by row; a context manager. The file appears when `publish` is called.

    Names that a spreadsheet would take for a formula have an apostrophe before them (`csv_cells.restored`). Line breaks
    in names are inside quotes: open the file with `newline=""`. Gaps of the table are in it too: a part of the
    dataset without rows has its own line, without a key.
    """

    def __init__(self, output: str, url: str, explained: Mapping[str, str], gaps: Sequence[Gap] = ()) -> None:
        self._output, self._url = output, url
        self._texts = pa.array([None if reason is None else explained[reason] for reason in REASONS[1:]])
        self._gaps = gaps
        self._breaks = {(gap.shard, gap.index): _of_gap(gap) for gap in gaps if gap.kind == "shard"}
        self._open = ExitStack()

    def __enter__(self) -> "RemovedFile":
        self._path = self._open.enter_context(storage.temporary_for(self._output))
        self._file = self._open.enter_context(self._path.open("w", encoding="utf-8", newline=""))
        self._csv = csv.writer(self._file)
        self._csv.writerow([*COLUMNS, "explanation"])
        for gap in self._gaps:
            if gap.kind != "shard":  # a shard that broke off has its row in the table
                known = {"shard": gap.shard, "index": gap.index if gap.shard else "", "reason": Drop.NOT_READ.value}
                self._csv.writerow([*(defused(str(known.get(name, ""))) for name in COLUMNS), _of_gap(gap)])
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, table: pa.Table) -> None:
        """Add rows of the decisions table, none of which is kept."""
        if not table.num_rows:
            return
        columns = [_texts(table, name).to_pylist() for name in COLUMNS]
        columns.append(self._explanations(table).to_pylist())
        self._csv.writerows(zip(*columns, strict=True))

    def publish(self) -> None:
        """Publish the file."""
        self._file.close()
        storage.publish(self._path, self._url)

    def _explanations(self, table: pa.Table) -> Any:
        reason = table["reason"].combine_chunks()
        texts = pc.take(self._texts, reason.indices)
        status = pc.binary_join_element_wise("Not scored: ", table["status"].cast(pa.string()), "")
        texts = pc.if_else(pc.equal(reason.cast(pa.string()), Drop.NOT_SCORED.value), status, texts)
        held = pc.equal(reason.cast(pa.string()), DROP_WHERE)
        if pc.any(held).as_py():
            condition = table["condition"].cast(pa.string())
            texts = pc.if_else(held, pc.binary_join_element_wise("The condition holds for it: ", condition, ""), texts)
        unread = pc.equal(reason.cast(pa.string()), Drop.NOT_READ.value)
        if not (self._breaks and pc.any(unread).as_py()):
            return texts
        shards, places = table["shard"].to_pylist(), table["index"].to_pylist()
        return pa.array(
            [
                self._breaks.get((shard, place), text) if is_unread else text
                for text, is_unread, shard, place in zip(
                    texts.to_pylist(), unread.to_pylist(), shards, places, strict=True
                )
            ],
            pa.string(),
        )


def _of_gap(gap: Gap) -> str:
    many = "1 record is" if gap.records == 1 else f"{gap.records:,} records are"
    known = f"At least {many} not known" if gap.records else "The table is not whole"
    return f"{known}: {gap.reason}"


def _texts(table: pa.Table, name: str) -> Any:
    column = table[name].cast(pa.string())
    return defused_column(column) if name in _NAMES else column
