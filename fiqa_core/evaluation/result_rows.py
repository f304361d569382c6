"""Results of an evaluation as the rows of its files."""

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.study import Result
from schemas.edc import AUC_COLUMNS, SCHEMA


def curve_table(dataset: str, fr_model: str, results: Iterable[Result]) -> pa.Table:
    """Rows of edc.parquet (schemas/edc.py), one a point of a curve."""
    tables = []
    for result in results:
        curve, size = result.curve, len(result.curve.discard)
        unknown = np.full(size, np.nan)
        columns: dict[str, Any] = {
            "protocol": pa.repeat(curve.protocol, size),
            "dataset": pa.repeat(dataset, size),
            "fr_model": pa.repeat(fr_model, size),
            "method": pa.repeat(result.method, size),
            "fmr": np.full(size, curve.fmr),
            "discard": curve.discard,
            "threshold": curve.threshold,
            "achieved_fmr": curve.achieved_fmr,
            "n_mated": curve.n_mated,
            "n_nonmated": curve.n_nonmated,
            "fnmr": curve.fnmr,
            "fnmr_low": result.bands.fnmr_low if result.bands else unknown,
            "fnmr_high": result.bands.fnmr_high if result.bands else unknown,
            "quality": curve.quality,
        }
        arrays = [_column(columns[field.name], field.type) for field in SCHEMA]
        tables.append(pa.Table.from_arrays(arrays, schema=SCHEMA))
    return pa.concat_tables(tables).unify_dictionaries() if tables else SCHEMA.empty_table()


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values.cast(pa.string()).dictionary_encode()
    return pa.array(values, kind, from_pandas=True)  # NaN is null


def auc_rows(dataset: str, fr_model: str, results: Iterable[Result]) -> list[dict[str, Any]]:
    """Rows of auc.csv, one a curve."""
    rows = []
    for result in results:
        row: dict[str, Any] = {
            "protocol": result.curve.protocol,
            "dataset": dataset,
            "fr_model": fr_model,
            "method": result.method,
            "fmr": result.curve.fmr,
            "fnmr": float(result.curve.fnmr[0]),
        }
        for place, name in enumerate(("auc", "auc_30", "auc_20")):
            row[name] = float(result.numbers[place])
            row[f"{name}_low"] = float(result.bands.numbers_low[place]) if result.bands else math.nan
            row[f"{name}_high"] = float(result.bands.numbers_high[place]) if result.bands else math.nan
            if math.isnan(row[name]):
                row[f"{name}_low"] = row[f"{name}_high"] = math.nan
        rows.append({name: row[name] for name in AUC_COLUMNS})
    return rows


def as_csv(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """A CSV file in UTF-8; numbers in full precision, unknown values empty."""
    text = io.StringIO()
    names = list(columns)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: "" if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for name in names}
        )
    return text.getvalue().encode()
