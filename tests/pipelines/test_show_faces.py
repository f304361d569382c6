"""The command that shows chosen faces as one picture."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fiqa_core.shards import places
from fiqa_core.tables.contact_sheet import SheetError, _drawable, contact_sheet
from fiqa_core.tables.faces import Face
from fiqa_core.tables.row_query import ExpressionError, chosen_rows
from pipelines.filter_dataset import run as filter_dataset
from pipelines.show_faces import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK, run
from tests.makers.containers import write_tar
from tests.makers.images import encoded
from tests.makers.runs import score_shards

SIDE, GAP, TEXT = 112, 8, 56
HOSTILE = "=cmd|'<b>\"; DROP TABLE rows; --"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A run over one tar: 12 grey squares of rising brightness (which is their quality), some with hostile names."""
    root = tmp_path_factory.mktemp("shown")
    members = []
    for number in range(12):
        name = f"{HOSTILE}{number:02}" if number % 4 == 1 else f"face_{number:02}"
        members += [(f"{name}.png", grey(number)), (f"{name}.txt", f"Zoë {number % 3}".encode())]
    write_tar(root / "a.tar", [*members, ("text.jpg", b"no image")])
    score_shards(root / "out", [root / "a.tar"])
    assert filter_dataset(["--quality", str(root / "out"), "--output", str(root / "kept"), "--drop-worst", "0.3"]) == 0
    return root / "out"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(places.CACHE_VARIABLE, str(tmp_path / "cache"))


def grey(number: int) -> bytes:
    return encoded(np.full((40, 40, 3), number * 20, np.uint8), "PNG")


def levels(path: Path, count: int) -> list[int]:
    """Grey level in the middle of each cell, row by row."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    columns = (sheet.shape[1] - GAP) // (SIDE + GAP)
    rows = [divmod(place, columns) for place in range(count)]
    return [
        int(sheet[GAP + row * (SIDE + TEXT + GAP) + SIDE // 2, GAP + column * (SIDE + GAP) + SIDE // 2, 0])
        for row, column in rows
    ]


def shown(out: Path, *more: str) -> int:
    return run(["--quality", str(out), *more])


def test_the_faces_that_fit_are_on_the_sheet_in_the_order_asked(out, tmp_path, capsys):
    quality = pd.read_parquet(out / "quality").set_index("index").quality
    limit = float(quality.dropna().sort_values().iloc[5])
    where = f"quality < {limit}"
    assert shown(out, "--where", where, "--order", "quality DESC", "--output", str(tmp_path / "s.png")) == EXIT_OK
    assert levels(tmp_path / "s.png", 5) == [80, 60, 40, 20, 0]
    assert "written: " in capsys.readouterr().out
    assert shown(out, "--limit", "3", "--per-row", "1", "--output", str(tmp_path / "t.png")) == EXIT_OK
    assert levels(tmp_path / "t.png", 3) == [0, 20, 40]
    assert not {path.name for path in tmp_path.iterdir()} - {"s.png", "t.png", "cache"}
    for name in ("s.jpg", "s.webp"):
        assert shown(out, "--limit", "4", "--output", str(tmp_path / name)) == EXIT_OK
        assert Image.open(tmp_path / name).size[0] > 100


@pytest.mark.parametrize("source", ["", "removed.csv"])
def test_what_a_filter_run_dropped_is_shown_from_its_decisions_and_from_removed_csv(out, tmp_path, source):
    kept = out.parent / "kept"
    decisions = pd.read_parquet(kept / "decisions")
    dropped = decisions[~decisions.keep & (decisions.status == "scored")]["index"].tolist()
    assert len(dropped) >= 3
    where = [] if source else ["--where", "NOT keep AND status = 'scored'"]
    where = where or ["--where", "reason <> 'not_scored'"]
    arguments = ["--decisions", str(kept / source), *where, "--output", str(tmp_path / "s.png")]
    assert shown(out, *arguments) == EXIT_OK
    assert sorted(levels(tmp_path / "s.png", len(dropped))) == [index * 20 for index in sorted(dropped)]


def test_hostile_names_are_only_text_in_removed_csv_and_on_the_sheet(out, tmp_path):
    kept = out.parent / "kept"
    with (kept / "removed.csv").open(newline="", encoding="utf-8") as stream:
        cells = [row["key"] for row in csv.DictReader(stream)]
    assert any(cell.startswith("'=cmd") for cell in cells)
    rows = chosen_rows(str(kept / "removed.csv"), "key LIKE '=cmd%'")
    assert rows.num_rows == sum(cell.startswith("'=cmd") for cell in cells)
    where = "key = '" + rows["key"][0].as_py().replace("'", "''") + "'"
    assert shown(out, "--where", where, "--output", str(tmp_path / "s.png")) == EXIT_OK
    assert levels(tmp_path / "s.png", 1) == [20]


@pytest.mark.parametrize(
    "expression",
    [
        "quality < (SELECT count(*) FROM read_csv('{file}'))",
        "EXISTS (SELECT * FROM '{file}')",
        "EXISTS (FROM read_text('{file}'))",
        "EXISTS (FROM glob('/*'))",
        "1=1; COPY (SELECT 1) TO '{folder}/written.csv'",
        "1=1) UNION SELECT 1 --",
        "1=1; SET enable_external_access=true",
        "key IN (SELECT key FROM rows)",
        "getenv('HOME') = 'x'",
        "quality <",
        "quality < 1, key",
        "nothing = 1",
        "quality + 'a' > 1",
    ],
)
def test_an_expression_reads_no_file_and_runs_no_statement(out, tmp_path, expression, caplog):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    text = expression.format(file=tmp_path / "secret.csv", folder=tmp_path)
    assert shown(out, "--where", text, "--output", str(tmp_path / "s.png")) == EXIT_BAD_INPUT
    assert "--where" in caplog.text
    assert "Columns: key, shard, index" in caplog.text
    assert not (tmp_path / "s.png").exists()
    assert not (tmp_path / "written.csv").exists()
    with pytest.raises(ExpressionError):
        chosen_rows(str(out), "", f"{text}; SELECT 1")


def test_a_missing_image_has_its_reason_on_the_sheet_and_exit_code_3(out, tmp_path, capsys, caplog):
    members = [(f"a{number}.png", grey(number)) for number in range(3)]
    write_tar(tmp_path / "b.tar", members)
    score_shards(tmp_path / "out", [tmp_path / "b.tar"])
    write_tar(tmp_path / "b.tar", [members[0], ("a1.png", grey(9)), members[2]])
    arguments = ["--per-row", "3", "--output", str(tmp_path / "s.png")]
    assert shown(tmp_path / "out", *arguments) == EXIT_INCOMPLETE
    assert "a1" in caplog.text
    assert "of 1 face the image is missing or changed" in capsys.readouterr().out
    assert levels(tmp_path / "s.png", 3)[::2] == [0, 40]
    assert shown(tmp_path / "out", *arguments) == EXIT_BAD_INPUT
    assert "--overwrite" in caplog.text
    assert shown(tmp_path / "out", *arguments, "--overwrite") == EXIT_INCOMPLETE


def test_a_damaged_table_is_named_and_not_the_expression(out, tmp_path, caplog):
    lines = (out.parent / "kept" / "removed.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "removed.csv").write_bytes(b"".join(lines[:3]) + b'a,"b\xff\n')
    arguments = ["--decisions", str(tmp_path / "removed.csv"), "--where", "true", "--output", str(tmp_path / "s.png")]
    assert shown(out, *arguments) == EXIT_BAD_INPUT
    assert "removed.csv: line" in caplog.text
    assert "--where" not in caplog.text
    (tmp_path / "removed.csv").write_text("a,b\n1,2\n")
    assert shown(out, *arguments) == EXIT_BAD_INPUT
    assert "no column 'shard'" in caplog.text


def test_a_row_that_never_was_an_image_is_shown_with_its_reason(out, tmp_path):
    assert shown(out, "--where", "status = 'not_an_image'", "--output", str(tmp_path / "s.png")) == EXIT_OK
    assert Image.open(tmp_path / "s.png").size == (SIDE + 2 * GAP, SIDE + TEXT + 2 * GAP)


def test_no_row_that_fits_is_an_error_that_writes_nothing(out, tmp_path, caplog):
    assert shown(out, "--where", "quality > 1e9", "--output", str(tmp_path / "s.png")) == EXIT_BAD_INPUT
    assert "there is no row that fits" in caplog.text
    assert not (tmp_path / "s.png").exists()


def test_a_sheet_that_would_be_too_large_is_refused():
    with pytest.raises(SheetError, match="show fewer faces"):
        contact_sheet(iter([]), 100_000)


def test_letters_of_any_script_are_drawn_or_escaped_but_never_boxes():
    assert _drawable("Zoë") == "Zoë"
    assert _drawable("a\U0010fffd") == "a\\U0010fffd"
    face = Face({"key": "ключ \u4e00", "label": "x" * 500, "quality": 0.5}, None, "no such file: \u4e00")
    assert contact_sheet([face], 1).size == (SIDE + 2 * GAP, SIDE + TEXT + 2 * GAP)
