"""Error-versus-discard curves of an evaluation's output folder, and the thresholds that it recommends."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.curation.csv_cells import restored
from fiqa_core.evaluation.evaluation_run import ACCOUNT, parse_account
from fiqa_core.report.evaluation_tables import EvaluationTables, read_tables
from fiqa_core.report.settings import ReportError
from fiqa_core.runs.layout import read_run_file
from fiqa_core.wording import one_line, visible

CURVES = "edc.parquet"
_THRESHOLDS = "recommendations.csv"
_MOST_CHARTS = 12
_MOST_ROWS = 40
_SHOWN = (
    "dataset",
    "fr_model",
    "method",
    "fmr",
    "kind",
    "min_quality",
    "fnmr_before",
    "fnmr",
    "images_dropped",
    "note",
)


@dataclass(frozen=True)
class Curves:
    """One chart: the curves of a dataset, model, protocol and FMR. lines: by method, discarded share and FNMR,
    float64 (n,) each."""

    title: str
    lines: dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as a report shows it. more: charts that were left out. thresholds: the table's heads and rows.
    tables: differences, groups and poor images."""

    charts: tuple[Curves, ...]
    more: int
    heads: tuple[str, ...]
    thresholds: tuple[tuple[str, ...], ...]
    account: dict[str, Any]
    tables: EvaluationTables


def read_evaluation(folder: str) -> Evaluation:
    """The curves of an evaluation.

    Raises:
        ReportError: it is not the output of a finished evaluation.
    """
    url = storage.join(folder, CURVES)
    try:
        account = read_run_file(folder, parse_account, ACCOUNT)
        with storage.open_read(url) as stream:
            table = pq.read_table(stream)
        charts = list(_charts(table))
    except (FileNotFoundError, ValueError, KeyError, pa.ArrowException) as error:
        raise ReportError(
            f"{folder}: not the output of fiqa evaluate ({one_line(error, 200)}). Give the folder that it wrote."
        ) from error
    heads, rows = _thresholds(folder)
    more = max(0, len(charts) - _MOST_CHARTS)
    return Evaluation(tuple(charts[:_MOST_CHARTS]), more, heads, rows, account, read_tables(folder))


def _charts(table: pa.Table) -> Iterator[Curves]:
    names = ("dataset", "fr_model", "protocol", "fmr", "method", "discard", "fnmr")
    texts = ("dataset", "fr_model", "protocol", "method")
    table = pa.table({n: table[n].cast(pa.string() if n in texts else pa.float64()) for n in names})
    frame = table.to_pandas()
    for (dataset, model, protocol, fmr), rows in frame.groupby(list(names[:4]), sort=False):
        lines = {
            visible(str(method)): (curve["discard"].to_numpy(), curve["fnmr"].to_numpy(float))
            for method, curve in rows.groupby("method", sort=False)
        }
        yield Curves(visible(f"{dataset}, {model}, FMR {fmr:g} ({protocol})"), lines)


def _thresholds(folder: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    if _THRESHOLDS not in storage.list_names(folder):
        return (), ()
    text = storage.read_bytes(storage.join(folder, _THRESHOLDS)).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))[:_MOST_ROWS]
    return _SHOWN, tuple(tuple(visible(restored(row.get(name) or "")) for name in _SHOWN) for row in rows)
