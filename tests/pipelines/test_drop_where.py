"""filter_dataset --drop-where: a policy by any column, by checked conditions on one row."""

import datetime
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.settings.fields import SettingError
from fiqa_core.tables.condition_rows import RowConditions
from fiqa_core.tables.conditions import ConditionError, condition_database, parse_condition
from fiqa_core.tables.quality_files import TableError, find_parts
from pipelines.cli.policy_options import policy_of
from pipelines.filter_dataset import EXIT_BAD_INPUT, EXIT_OK, make_parser, run
from tests.fiqa_core.curation.tables import frame, write_quality

YAW = [0.0, 70.0, None, 65.0, 10.0, 90.0]
QUALITY = [0.5, 0.6, 0.1, 0.4, 0.2, None]


def with_columns(folder, per_file=2, **columns):
    """A quality table of several files with more columns, given for all of its rows."""
    write_quality(folder / "q", frame(QUALITY), per_file=per_file)
    for number, file in enumerate(sorted((folder / "q").iterdir())):
        table = pq.read_table(file)
        for name, values in columns.items():
            part = values[number * per_file : number * per_file + per_file]
            table = table.append_column(name, part if isinstance(part, pa.Array) else pa.array(part))
        pq.write_table(table, file)
    return folder


@pytest.fixture
def table(tmp_path):
    when = [datetime.datetime(2024, month, 1) for month in range(1, 7)]
    return with_columns(
        tmp_path,
        pose_yaw=pa.array(YAW, pa.float32()),
        camera=pa.array(["a", "b", None, "a", "c", "b"]).dictionary_encode(),
        taken=pa.array(when, pa.timestamp("us")),
        **{"my note": ["x", "y", "it's", "x", None, "z"]},
    )


def filtered(folder, *more):
    assert run(["--quality", str(folder / "q"), "--output", str(folder / "f"), "--overwrite", *map(str, more)]) == 0
    decided = pd.read_parquet(folder / "f" / "decisions").sort_values("index")
    decided = decided.astype({"reason": object, "condition": object})
    return decided.where(decided.notna(), None), json.loads((folder / "f" / "summary.json").read_text())


def where(*conditions):
    return [word for each in conditions for word in ("--drop-where", each)]


@pytest.mark.parametrize(
    ("condition", "dropped"),
    [
        ("pose_yaw > 60", [1, 3, 5]),
        ("POSE_YAW > 60 and quality < 0.5", [3]),
        ("camera = 'a'", [0, 3]),
        ("camera in ('b', 'c')", [1, 4, 5]),
        ("taken >= '2024-04-01'", [3, 4, 5]),
        ("taken BETWEEN '2024-02-01' AND DATE '2024-03-01'", [1, 2]),
        ("\"my note\" = 'it''s'", [2]),
        ("\"my note\" LIKE 'x%' -- a comment", [0, 3]),
        ("quality = 0.4", [3]),
        ("pose_yaw IS NULL", [2]),
        ("NOT pose_yaw <= 60", [1, 3, 5]),
        ("width * height < 112 * 112 OR -pose_yaw < -69", [1, 5]),
        ("pose_yaw / 0 > 1", []),
    ],
)
def test_a_condition_on_any_column_of_a_table_of_several_files_drops_its_rows(table, condition, dropped):
    rows = RowConditions([condition], find_parts([str(table / "q")]))
    found = [(rids, holds.to_pylist()) for rids, (holds,) in rows.batches()]
    assert len(found) == 3
    assert [int(rid) for rids, holds in found for rid, held in zip(rids, holds, strict=True) if held] == dropped


def test_the_decision_the_csv_and_the_summary_name_the_condition_and_rows_without_a_value_are_counted(table, capsys):
    conditions = ["pose_yaw > 60", "camera = 'b'"]
    decided, summary = filtered(table, *where(*conditions))
    assert decided.condition.tolist() == [None, conditions[0], None, conditions[0], None, None]
    assert summary["drop_where"] == [
        {"condition": conditions[0], "matched": 2, "dropped": 2, "null": 1},
        {"condition": conditions[1], "matched": 1, "dropped": 0, "null": 1},
    ]
    removed = pd.read_csv(table / "f" / "removed.csv").set_index("key")
    assert removed.explanation["k1"] == "The condition holds for it: pose_yaw > 60"
    shown = capsys.readouterr().out
    assert (
        "--drop-where pose_yaw > 60: holds for 2 scored rows; 1 row not dropped by it, since a value is null" in shown
    )
    assert "--drop-where camera = 'b': holds for 1 scored row, 0 dropped by it; 1 row" in shown


def test_the_policy_file_the_settings_and_every_decisions_file_record_the_conditions(table):
    _, summary = filtered(table, *where("pose_yaw > 60", "camera = 'c'"))
    conditions = ("pose_yaw > 60", "camera = 'c'")
    assert read_policy(str(table / "f" / "policy.yaml")).quality.drop_where == conditions
    assert summary["policy"]["quality"]["drop_where"] == list(conditions)
    for file in (table / "f" / "decisions").iterdir():
        metadata = pq.read_schema(file).metadata
        assert json.loads(metadata[b"fiqa.drop_where"]) == list(conditions)
    again = ["--quality", str(table / "q"), "--output", str(table / "f"), "--resume"]
    assert run([*again, *where(conditions[0])]) == EXIT_BAD_INPUT


def test_a_policy_file_has_one_condition_or_a_list_and_options_replace_it(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text('version: 1\nquality:\n  drop_where: ["pose_yaw > 60", "camera = \'c\'"]\n')
    flags = ["--quality", "q", "--dry-run", "--policy", str(policy)]
    parser = make_parser()
    assert policy_of(parser.parse_args(flags)).quality.drop_where == ("pose_yaw > 60", "camera = 'c'")
    replaced = parser.parse_args([*flags, *where("pose_yaw > 80", "camera = 'b'")])
    assert policy_of(replaced).quality.drop_where == ("pose_yaw > 80", "camera = 'b'")
    policy.write_text("quality: {drop_where: camera = 'a'}\n")
    assert read_policy(str(policy)).quality.drop_where == ("camera = 'a'",)
    policy.write_text("quality: {drop_where: lower(camera) = 'a'}\n")
    with pytest.raises(SettingError, match=r"line 1: quality\.drop_where is .*it calls lower\(\)"):
        read_policy(str(policy))


def test_conditions_come_after_thresholds_and_before_shares_and_spare_the_best_of_each_identity(table):
    decided, _ = filtered(table, "--min-quality", 0.15, *where("quality < 0.45"), "--drop-worst", 0.5)
    assert decided.reason.tolist() == [
        "below_global_quantile", None, "below_threshold", "drop_where", "drop_where", "not_scored"
    ]  # fmt: skip
    decided, _ = filtered(table, *where("pose_yaw > 60"), "--keep-at-least", 1, "--quality-action", "weight")
    assert decided.keep.tolist() == [True] * 5 + [False]
    assert decided.weight.tolist() == pytest.approx([1, 1, 1, 0.1, 1, 0])
    assert decided.condition.isna().all()


def test_a_dry_run_counts_by_condition_and_writes_nothing(table, capsys):
    assert run(["--quality", str(table / "q"), "--dry-run", *where("pose_yaw > 60")]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "drop_where                         2  A condition of the policy holds for it: pose_yaw > 60." in shown
    assert not (table / "f").exists()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("pose_yaww > 60", "no column 'pose_yaww'. Did you mean pose_yaw?"),
        ('camera = "a"', "no column 'a'"),
        ("current_date > taken", "no column 'current_date'"),
        ("camera > 1", "a text that holds a number is written name::DOUBLE"),
        ("camera::INT > 1", "Could not convert string"),
        ("pose_yaw = 'far'", "'far'"),
        ("pose_yaw + 1", "it gives FLOAT, expected true or false"),
    ],
)
def test_a_column_that_is_not_there_or_cannot_be_compared_so_is_refused_by_name(table, condition, message):
    with pytest.raises(TableError) as error:
        list(RowConditions([condition], find_parts([str(table / "q")]), option="--drop-where").batches())
    assert str(error.value).startswith(f"--drop-where {condition!r}: ")
    assert message in str(error.value)


def test_a_column_that_is_not_there_ends_the_run_before_anything_is_written(table, caplog):
    flags = ["--quality", str(table / "q"), "--output", str(table / "f"), *where("pose_yaww > 60")]
    assert run(flags) == EXIT_BAD_INPUT
    assert "the table has no column 'pose_yaww'. Did you mean pose_yaw?" in caplog.text
    assert not (table / "f").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lower(camera) = 'a'", r"calls lower\(\)"),
        ("count(*) > 1", "calls count_star"),
        ("quality < (SELECT max(quality) FROM t)", "a subquery"),
        ("quality IN (SELECT 1)", "a subquery"),
        ("EXISTS (FROM 'x.csv')", "a subquery"),
        ("sum(quality) OVER () > 1", "a window function"),
        ("coalesce(quality, 1) < 1", "COALESCE"),
        ("CASE WHEN grey THEN true END", "CASE"),
        ("quality < 1) GROUP BY (key", "not one condition"),
        ("quality < 1) UNION SELECT (1", "not one condition"),
        ("quality < 1; DROP TABLE t", "syntax error"),
        ("group = 'a'", "group goes in double quotes"),
        ("t.quality < 1", "put the whole name in double quotes"),
        ("quality <", "syntax error"),
        ("1 = 1", "names no column"),
        (" ", "empty"),
        ("a" * 2001, "more than 2,000 characters"),
        ("COLUMNS('q.*') > 1", r"\*"),
        ("key SIMILAR TO 'a.*'", "regexp_full_match"),
    ],
)
def test_what_is_not_one_condition_on_a_row_is_refused_before_anything_is_read(text, message, capsys):
    with pytest.raises(ConditionError, match=message):
        parse_condition(text)
    with pytest.raises(SystemExit) as end:
        run(["--quality", "none", "--dry-run", "--drop-where", text])
    assert end.value.code == EXIT_BAD_INPUT
    assert "argument --drop-where: expected a condition" in capsys.readouterr().err


def test_the_database_of_conditions_opens_no_file_and_cannot_be_unlocked(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    with condition_database() as database:
        for statement in (
            f"FROM '{tmp_path}/x.csv'",
            "SET lock_configuration = false",
            "SET enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"disabled|locked"):
                database.execute(statement)


def test_not_a_number_counts_as_no_value(tmp_path):
    folder = with_columns(tmp_path, 6, blur=pa.array([float("nan"), 2.0, 0.0, None, 5.0, 1.0]))
    ((_, (holds,)),) = RowConditions(["blur > 1"], find_parts([str(folder / "q")])).batches()
    assert holds.to_pylist() == [None, True, False, None, True, False]


def test_a_column_that_only_some_files_have_is_refused_with_the_file(tmp_path):
    folder = with_columns(tmp_path, blur=[1.0] * 6)
    last = sorted((folder / "q").iterdir())[-1]
    pq.write_table(pq.read_table(last).drop_columns(["blur"]), last)
    with pytest.raises(TableError, match=f"{last.name} does not have the column 'blur'"):
        RowConditions(["blur > 1"], find_parts([str(folder / "q")]))


def test_columns_of_other_types_in_other_files_are_compared_as_one(tmp_path):
    folder = with_columns(tmp_path, per_file=3, size=[1, 2, 3, 4, 5, 6])
    first = sorted((folder / "q").iterdir())[0]
    table = pq.read_table(first)
    place = table.column_names.index("size")
    pq.write_table(table.set_column(place, "size", pa.array([250, 2, 3], pa.uint8())), first)
    rows = RowConditions(["size * 2 > 9"], find_parts([str(folder / "q")]))
    assert [held for _, (holds,) in rows.batches() for held in holds.to_pylist()] == [True, *[False] * 3, True, True]


def test_a_group_of_a_file_and_labels_that_are_attached_are_columns_too(tmp_path):
    folder = with_columns(tmp_path)
    listed = pd.DataFrame({"key": [f"k{row}" for row in range(5)], "age": [4, 30, 7, 9, 60]})
    listed.to_csv(tmp_path / "ages.csv", index=False)
    given = ["--group-by", tmp_path / "ages.csv", "--group-column", "age"]
    decided, _ = filtered(folder, *given, *where("age::INT < 8"))
    assert list(decided.index[decided.reason == "drop_where"]) == [0, 2]
    pd.DataFrame({"key": ["k0", "k1", "k3"], "label": ["new", "a", "new"]}).to_csv(tmp_path / "labels.csv", index=False)
    decided, _ = filtered(folder, "--labels", tmp_path / "labels.csv", *where("label = 'new' or label is null"))
    assert list(decided.index[decided.reason == "drop_where"]) == [0, 2, 3, 4]
