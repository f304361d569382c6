"""Names out of strangers' files are shown in logs and reports, never obeyed by a terminal."""

import logging

import numpy as np
import pytest

from fiqa_core.models import NOTICE
from fiqa_core.runs.folder import OutputError
from fiqa_core.tables.quality_files import TableError
from fiqa_core.wording import visible
from pipelines import score_dataset
from pipelines.cli.command import set_up_logging
from pipelines.cli.log_format import Lines, VisibleFormatter, report
from pipelines.cli.program import called_by
from pipelines.fiqa import COMMANDS

EVIL = "a\x1b[2J\nERROR forged\r\x85\u2028\u202eb\udcff\x07"
SHOWN = r"a\x1b[2J\nERROR forged\r\x85\u2028\u202eb\xff\x07"


def line(message: str, *values: object, name: str = "fiqa_core.shards.sources") -> str:
    record = logging.LogRecord(name, logging.WARNING, "x.py", 1, message, values, None)
    return VisibleFormatter("%(levelname)s %(name)s: %(message)s").format(record)


@pytest.mark.parametrize("value", [EVIL, ValueError(EVIL)], ids=["name", "error"])
def test_a_name_in_a_log_line_is_one_line_without_terminal_escapes(value):
    assert (
        line("%s: passed over %d files", value, 3) == f"WARNING fiqa_core.shards.sources: {SHOWN}: passed over 3 files"
    )


def test_ordinary_names_and_numbers_are_shown_as_they_are():
    text = line("%s %r %d %.2f %s", "Bj\u00f6rk/\u4eba.jpg", "x y", np.int64(3), 0.5, None)
    assert text.endswith(": Bj\u00f6rk/\u4eba.jpg 'x y' 3 0.50 None")


def test_lines_that_are_meant_stay_lines_and_their_names_are_escaped():
    error = OutputError.of_lines(["differences:", f"  {EVIL}", "use another"])
    assert line("%s", error).splitlines()[1:] == [f"  {SHOWN}", "use another"]
    assert line("%s", Lines("a\nb\x1b[1m")).endswith(": a\nb\\x1b[1m")


def test_other_libraries_keep_their_line_breaks_and_lose_their_escapes():
    assert line("%s", "a\n\x1b[1mb", name="apache_beam.runners").endswith(": a\n\\x1b[1mb")


def test_a_report_is_one_line_for_each_of_its_lines(capsys):
    report([f"PROBLEM: {EVIL}", "next"])
    assert capsys.readouterr().out == f"PROBLEM: {SHOWN}\nnext\n"


def test_nothing_that_a_terminal_obeys_is_left():
    every = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066]))
    assert visible(every).isprintable()


def test_the_notice_about_the_small_network_is_shown_as_lines(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    score_dataset.run(["--input", str(tmp_path / "empty"), "--output", str(tmp_path / "out")])
    record = next(record for record in caplog.records if "no --model" in record.getMessage())
    assert VisibleFormatter("%(message)s").format(record) == NOTICE


def test_a_refusal_of_tables_is_shown_as_lines_and_its_names_are_escaped():
    error = TableError.of_lines(["the table is not whole:", f"  {EVIL}: 1 unit is missing", "Mend it"])
    assert line("%s", error).splitlines()[1:] == [f"  {SHOWN}: 1 unit is missing", "Mend it"]


def test_the_lines_of_a_command_begin_with_what_its_user_calls_it(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    with called_by({"score_dataset": "fiqa score"}):
        set_up_logging()
        logging.getLogger("score_dataset").info("planned")
        logging.getLogger("fiqa_core.shards").info("read")
    assert capsys.readouterr().err == "INFO fiqa score: planned\nINFO fiqa_core.shards: read\n"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_line_break_in_a_name_is_escaped_in_the_log_of_every_command(command):
    name = command.module.rpartition(".")[2]
    record = logging.LogRecord(name, logging.INFO, "x.py", 1, "read %s", ("a\nERROR b",), None)
    assert VisibleFormatter("%(message)s").format(record) == "read a\\nERROR b"
