"""filter_dataset --group-by: what each group loses under a policy, and budgets that are kept exactly."""

import itertools
import json
import math
from collections import Counter

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.decisions.groups import keep_within_budget
from fiqa_core.curation.decisions.reason_codes import reason_code
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from tests.fiqa_core.curation.tables import frame, write_quality

SIZES = {"dark": 40, "light": 200, "rare": 7}


@pytest.fixture
def table(tmp_path):
    """A table whose groups differ in quality, and a file key -> group without the last key."""
    random = np.random.default_rng(8)
    groups = np.repeat(list(SIZES), list(SIZES.values()))
    means = {"dark": 0.3, "light": 0.6, "rare": 0.2}
    quality = np.array([means[group] for group in groups]) + random.normal(0, 0.15, len(groups)).round(2)
    rows = frame(quality.round(2), random.integers(0, 30, len(groups)).astype(str))
    write_quality(tmp_path / "q", rows, per_file=100)
    keys = [f"k{rid}" for rid in rows.rid]
    listed = pd.DataFrame({"key": keys, "group": groups}).iloc[:-1]
    listed.sample(frac=1, random_state=1).to_csv(tmp_path / "groups.csv", index=False)
    known = pd.Series([*groups[:-1], "(no group)"], keys)
    return tmp_path, rows.assign(key=keys, group=known.to_numpy()).set_index("key")


def filtered(folder, *more):
    assert run(["--quality", str(folder / "q"), "--output", str(folder / "f"), "--overwrite", *map(str, more)]) == 0
    decided = pd.read_parquet(folder / "f" / "decisions").set_index("key")
    return decided, json.loads((folder / "f" / "summary.json").read_text())


def test_the_summary_says_what_each_group_loses_under_a_policy(table, capsys):
    folder, rows = table
    decided, summary = filtered(folder, "--group-by", folder / "groups.csv", "--drop-worst", 0.2)
    found = summary["groups"]["groups"]
    assert list(found) == sorted(set(rows.group))
    for name, group in found.items():
        own = decided[(rows.group == name).reindex(decided.index)]
        assert (group["scored"], group["lost"]) == (len(own), int((~own.keep).sum()))
        assert group["share_lost"] == pytest.approx((~own.keep).mean())
    printed = capsys.readouterr().out
    assert "by group:" in printed
    most_lost_first = sorted(found, key=lambda name: -found[name]["share_lost"])
    places = [printed.index(f"  {name} ") for name in most_lost_first]
    assert places == sorted(places)


@pytest.mark.parametrize("budget", [0.0, 1 / 3])
@pytest.mark.parametrize("rules", [["--drop-worst", 0.25], ["--min-quality", 0.35, "--drop-worst-of-identity", 0.2]])
def test_a_budget_keeps_the_best_of_what_a_group_loses_and_no_more_than_needed(table, capsys, budget, rules):
    folder, rows = table
    plain, _ = filtered(folder, *rules)
    decided, summary = filtered(folder, "--group-by", folder / "groups.csv", "--group-budget", budget, *rules)
    plain_keep, keep = plain.keep.reindex(rows.index), decided.keep.reindex(rows.index)
    back = keep & ~plain_keep
    assert not (plain_keep & ~keep).any()
    for _, own in rows.groupby("group"):
        allowed = int(np.floor(budget * len(own) + 1e-9))
        dropped = own[~plain_keep[own.index]].sort_values(["quality", "rid"], ascending=[True, False])
        stay = dropped.iloc[: min(allowed, len(dropped))]
        assert set(own.index[~keep[own.index]]) == set(stay.index)
    price = summary["groups"]["budget"]
    assert price["rows_kept_for_it"] == int(back.sum())
    assert (price["kept_without_it"], price["kept_with_it"]) == (int(plain_keep.sum()), int(keep.sum()))
    if back.any():
        assert price["least_quality_kept_for_it"] == pytest.approx(rows.quality[back].min())
        assert price["mean_quality_without_it"] == pytest.approx(rows.quality[plain_keep].mean(), abs=1e-6)
        assert price["mean_quality_with_it"] == pytest.approx(rows.quality[keep].mean(), abs=1e-6)
    assert f"price: {int(back.sum())} row" in capsys.readouterr().out


def test_groups_are_a_column_of_the_table_too(table, tmp_path):
    folder, rows = table
    for file in sorted((folder / "q").iterdir()):
        own = pq.read_table(file)
        column = pa.array(rows.group.reindex(own["key"].to_pylist()).tolist())
        pq.write_table(own.append_column("attribute", column), file)
    _, by_column = filtered(folder, "--group-by", "attribute", "--drop-worst", 0.2, "--group-budget", 0.3)
    _, by_file = filtered(folder, "--group-by", folder / "groups.csv", "--drop-worst", 0.2, "--group-budget", 0.3)
    assert by_column["groups"]["by"] == "attribute"
    assert by_column["groups"]["groups"] == by_file["groups"]["groups"]


def test_what_is_no_column_and_no_file_is_refused_and_a_file_without_a_key_of_the_table_too(table, caplog):
    folder, _ = table
    command = ["--quality", str(folder / "q"), "--dry-run", "--group-by"]
    assert run([*command, "colour"]) == EXIT_BAD_INPUT
    assert "--group-by colour: neither a column of the table nor a file" in caplog.text
    (folder / "other.csv").write_text("key,group\nx1,a\n")
    assert run([*command, str(folder / "other.csv")]) == EXIT_BAD_INPUT
    assert "none of its keys is a key of the table" in caplog.text
    (folder / "twice.csv").write_text("key,group\nk1,a\nk1,b\n")
    assert run([*command, str(folder / "twice.csv")]) == EXIT_BAD_INPUT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--group-budget", "0.1"], "needs groups"),
        (["--group-budget", "0.1", "--group-by", "label", "--target-size", "9"], "size: target"),
        (["--group-budget", "0.1", "--group-by", "label", "--quality-action", "weight"], "action: weight"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(table, caplog, options, said):
    assert run(["--quality", str(table[0] / "q"), "--dry-run", *options]) == EXIT_BAD_INPUT
    assert said in caplog.text


def test_other_groups_are_another_run_for_resume(table, caplog):
    folder, _ = table
    filtered(folder, "--group-by", folder / "groups.csv", "--drop-worst", 0.2)
    again = ["--quality", str(folder / "q"), "--output", str(folder / "f"), "--resume", "--drop-worst", "0.2"]
    assert run([*again, "--group-by", str(folder / "groups.csv")]) == 0
    assert run([*again, "--group-by", "label"]) == EXIT_BAD_INPUT
    assert "groups" in caplog.text


def test_a_file_without_a_column_of_groups_names_the_option_for_it(table, caplog):
    folder, _ = table
    (folder / "other.csv").write_text("key,skin\nk1,light\n")
    words = ["--quality", str(folder / "q"), "--group-by", str(folder / "other.csv"), "--dry-run"]
    assert run(words) == EXIT_BAD_INPUT
    assert "--group-column" in caplog.text
    assert "--labels-column" not in caplog.text


def best_by_brute_force(groups, quality, dropped, share):
    """Of all sets of dropped rows that are kept again within the budget: the smallest, and of these the best."""
    ways = []
    for number in range(len(dropped) + 1):
        for back in itertools.combinations(dropped, number):
            lost = Counter(groups[row] for row in set(dropped) - set(back))
            if all(lost[name] <= math.floor(share * size + 1e-9) for name, size in Counter(groups).items()):
                ways.append((sum(quality[row] for row in back), back))
        if ways:
            return set(max(ways)[1])
    raise AssertionError("to keep all is always within the budget")


@pytest.mark.parametrize("seed", range(12))
def test_a_budget_is_the_best_of_all_ways_to_keep_within_it(seed):
    random = np.random.default_rng(seed)
    groups = random.choice(["a", "b", "c"], 14).tolist()
    quality = random.permutation(14) / 16
    dropped = [row for row in range(14) if quality[row] < 0.6]
    share = float(random.choice([0.0, 0.2, 1 / 3, 0.5]))
    code = reason_code("below_threshold")
    with duckdb.connect() as db:
        db.execute("CREATE TABLE kept_by_budget (rid BIGINT)")
        db.execute("CREATE TABLE groups (rid BIGINT, grp VARCHAR)")
        db.execute("CREATE TABLE state (rid BIGINT, quality FLOAT, reason UTINYINT)")
        for row in range(14):
            db.execute("INSERT INTO groups VALUES (?, ?)", [row, groups[row]])
            db.execute("INSERT INTO state VALUES (?, ?, ?)", [row, quality[row], code if row in dropped else 0])
        keep_within_budget(db, share)
        back = {row for (row,) in db.execute("SELECT rid FROM kept_by_budget").fetchall()}
        still = {row for (row,) in db.execute("SELECT rid FROM state WHERE reason > 0").fetchall()}
    assert back == best_by_brute_force(groups, quality, dropped, share)
    assert still == set(dropped) - back
