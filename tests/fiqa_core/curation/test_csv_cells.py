"""Whatever is in a label or key, every reader of CSV finds it again, and no spreadsheet runs it."""

import csv
import io

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from fiqa_core.curation.csv_cells import defused, defused_column, restored
from fiqa_core.curation.decisions.reason_codes import MEANINGS
from fiqa_core.curation.decisions.removed_csv import COLUMNS, RemovedFile
from fiqa_core.curation.subset.labels import in_order, publish_labels, read_labels
from schemas.drops import Drop
from tests.makers.pandas_csv import read_by_pandas

CHARACTERS = [*map(chr, range(33)), "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\ufeff", *"\"',;=+-@", "\uff1d"]
TEXTS = [text for c in CHARACTERS for text in (f"a{c}b", f"{c}ab", f"ab{c}", c)]
FORMULAS = ["=1+1", "+cmd|x", "-x", "@x", "\t=1", "\r=1", "\n=1", "'=1", "''x", "-12", "+3.5", "-1\n=2", ""]


def test_every_text_is_read_back_from_its_cell_and_no_cell_is_a_formula():
    for text in (*TEXTS, *FORMULAS):
        cell = defused(text)
        assert restored(cell) == text
        assert cell[:1] not in tuple("=+-@\t\r\n\uff1d") or cell in ("-12", "+3.5")
    column = pa.chunked_array([pa.array([*TEXTS, *FORMULAS, None])])
    assert defused_column(column).to_pylist() == [*map(defused, (*TEXTS, *FORMULAS)), None]


def test_labels_csv_gives_every_label_its_own_number_to_every_reader(tmp_path):
    counts = {label: n + 1 for n, label in enumerate(dict.fromkeys([*TEXTS, *FORMULAS]))}
    digest = publish_labels(str(tmp_path), counts)
    expected = in_order(counts)
    assert read_labels(str(tmp_path), digest).to_pylist() == expected
    path = tmp_path / "subset" / "labels.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [restored(row["label"]) for row in rows] == expected
    assert [int(row["new_label"]) for row in rows] == list(range(len(expected)))
    assert [int(row["images"]) for row in rows] == [counts[label] for label in expected]
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    assert [restored(label) for label in table.label] == read_by_pandas(expected)
    options = "header=true, all_varchar=true, quote='\"', escape='\"', delim=',', nullstr='no such'"
    found = duckdb.sql(f"select label from read_csv('{path}', {options}, parallel=false)").fetchall()
    assert [restored(label) for (label,) in found] == expected
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    strings = pa.csv.ConvertOptions(column_types={"label": pa.string()})
    assert [restored(v) for v in pa.csv.read_csv(path, None, parse, strings)["label"].to_pylist()] == expected


def test_plain_labels_are_written_as_before(tmp_path):
    publish_labels(str(tmp_path), {"Ann": 2, "Ben": 1})
    written = (tmp_path / "subset" / "labels.csv").read_text()
    assert written == "label,new_label,images\nAnn,0,2\nBen,1,1\n"


def test_removed_csv_gives_back_every_key_and_label(tmp_path):
    rows = len(TEXTS)
    columns = {name: pa.nulls(rows, pa.string()) for name in (*COLUMNS, "status")}
    reason = pa.array([Drop.OVERLAP_EXACT.value] * rows).dictionary_encode()
    columns |= {"key": pa.array(TEXTS), "label": pa.array(TEXTS[::-1]), "reason": reason}
    columns["status"] = pa.array(["scored"] * rows)
    with RemovedFile(str(tmp_path), str(tmp_path / "removed.csv"), dict.fromkeys(MEANINGS, "why")) as removed:
        removed.write(pa.table(columns))
        removed.publish()
    text = (tmp_path / "removed.csv").read_bytes().decode()
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [restored(row["key"]) for row in found] == TEXTS
    assert [restored(row["label"]) for row in found] == TEXTS[::-1]
    table = pd.read_csv(tmp_path / "removed.csv", keep_default_na=False, dtype=str)
    assert [restored(key) for key in table.key] == read_by_pandas(TEXTS)
