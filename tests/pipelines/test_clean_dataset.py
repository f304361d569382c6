"""clean_dataset: one recipe from shards to the kept images, with an account before and a yes."""

import errno
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from fiqa_core.curation.recipe import room
from fiqa_core.curation.recipe.recipe_file import new_recipe, parse_recipe, to_yaml
from fiqa_core.curation.subset.plan import EarlierSubset
from pipelines import embed_dataset, filter_dataset, score_dataset
from pipelines.clean_dataset import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK, EXIT_UNANSWERED
from pipelines.clean_dataset import run as clean
from pipelines.jobs import clean_write
from tests.makers.containers import face_records, write_truncated_tar, write_webdataset
from tests.makers.planted import COPY, CORRUPT, EACH, IDENTITIES, WRONG, planted_faces, recogniser

RECORDS = IDENTITIES * EACH + 2


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    planted_faces(folder)
    recogniser(folder)
    return folder


@pytest.fixture(scope="module")
def cautious(planted) -> Path:
    """A finished run without any option, and without the page."""
    output = planted / "cautious"
    assert clean(["--input", shard(planted), "--output", str(output), "--yes", "--no-report"]) == EXIT_OK
    return output


@pytest.fixture(scope="module")
def embedded(planted) -> Path:
    """A finished run with embeddings and the page."""
    output = planted / "embedded"
    words = ["--embedding-model", str(planted / "recogniser.onnx"), "--write-dropped", "--yes"]
    assert clean(["--input", shard(planted), "--output", str(output), *words]) == EXIT_OK
    return output


@pytest.fixture(autouse=True)
def _all_lines(caplog) -> None:
    caplog.set_level("INFO")


@pytest.fixture
def scored(cautious, tmp_path) -> Path:
    """A copy of the finished run, to do things to."""
    return Path(shutil.copytree(cautious, tmp_path / "copy"))


def shard(folder: Path) -> str:
    return str(folder / "faces-000000.tar")


def decisions(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "decided" / "decisions").set_index("key")


def summary(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())


def further(output: Path) -> dict[str, dict]:
    return {rule["name"]: rule for rule in summary(output)["account"]["further"]}


def edit(output: Path, old: str, new: str) -> str:
    recipe = output / "recipe.yaml"
    text = recipe.read_text()
    assert text.count(old) == 1
    recipe.write_text(text.replace(old, new))
    return str(recipe)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made(output: Path) -> dict[str, bytes]:
    """The results that must not depend on how often a run was broken off."""
    return {
        name: data
        for part in ("scores/quality", "decided/decisions", "subset/data", "subset/index")
        for name, data in contents(output / part).items()
    }


def test_without_options_exact_copies_and_undecodable_images_go_and_nothing_else(cautious):
    found = decisions(cautious)
    assert found[~found.keep].reason.to_dict() == {COPY: "duplicate_exact", CORRUPT: "not_scored"}
    assert summary(cautious)["subset"]["images"] == RECORDS - 2


def test_counts_of_all_stages_reconcile(embedded):
    found = summary(embedded)
    assert found["records"] == RECORDS == sum(found["status"].values()) == len(decisions(embedded))
    assert found["kept"] + sum(found["dropped"].values()) == RECORDS
    assert found["kept"] == found["subset"]["images"] == found["account"]["kept"]["images"]
    assert found["dropped_images"]["images"] == 2
    assert {path.parent.parent.name for path in (embedded / "dropped").rglob("*.jpg")} == {
        "duplicate_exact",
        "not_scored",
    }


def test_the_account_says_what_each_further_rule_would_take_and_takes_nothing(embedded):
    found = further(embedded)
    wrong = found["labels: {drop_wrong: true}"]
    assert (wrong["images"], wrong["identities"], wrong["whole"]) == (2, 2, 0)
    assert found["quality: {drop_fraction: 0.05}"]["images"] == int(0.05 * (RECORDS - 2))
    assert found["size: {min_per_identity: 3}"]["images"] == 0
    assert {"duplicates: {near: all}", "quality: {max_predicted_fnmr: 0.1}"} <= set(found)
    assert decisions(embedded).loc[list(WRONG)].keep.all()


def test_what_a_further_rule_would_take_is_what_it_takes_when_it_is_added(embedded, tmp_path, caplog):
    output = Path(shutil.copytree(embedded, tmp_path / "copy"))
    told = further(output)["labels: {drop_wrong: true}"]["images"]
    text = (output / "recipe.yaml").read_text().replace(f"output: {embedded}", f"output: {output}")
    (output / "recipe.yaml").write_text(text)
    recipe = edit(output, "drop_wrong: false", "drop_wrong: true")
    before = contents(output / "scores") | contents(output / "embeddings")
    assert clean(["--recipe", recipe, "--yes"]) == EXIT_OK
    assert before == contents(output / "scores") | contents(output / "embeddings")
    found = decisions(output)
    assert set(found[found.reason == "wrong_label"].index) == set(WRONG)
    assert len(WRONG) == told
    assert summary(output)["subset"]["images"] == RECORDS - 4
    assert sum(path.suffix == ".jpg" for path in (output / "dropped").rglob("*")) == 4
    caplog.clear()
    edit(output, "min_per_identity: null", "min_per_identity: 2")
    assert clean(["--recipe", recipe, "--yes", "--no-report"]) == EXIT_OK
    assert "decide is done again, for something changed:" in caplog.messages
    assert not any(message.startswith("gather: ") for message in caplog.messages)  # the findings are kept


def test_the_report_shows_faces_that_further_rules_would_take(embedded):
    page = (embedded / "report.html").read_text()
    data = json.loads(page.partition('type="application/json" id="data">')[2].partition("</script>")[0])
    wrong = data["dropped"]["further-0"]
    assert {data["faces"][str(item["rid"])]["key"] for item in wrong} == set(WRONG)
    assert all(data["faces"][str(item["rid"])]["image"] for item in wrong)
    assert "labels: {drop_wrong: true}" in page
    assert "What further rules would take" in page


def test_table_decisions_and_subset_are_those_of_the_single_commands(embedded, planted, tmp_path):
    scores, embeddings, kept = (str(tmp_path / name) for name in ("scores", "embeddings", "kept"))
    data = ["--input", shard(planted), "--output"]
    assert score_dataset.run([*data, scores, "--phash", "--calibration", "embedded"]) == EXIT_OK
    assert embed_dataset.run([*data, embeddings, "--model", str(planted / "recogniser.onnx")]) == EXIT_OK
    words = ["--quality", scores, "--exact-duplicates", "all", "--write", "same", "--output", kept]
    assert filter_dataset.run([*words, "--embeddings", str(embedded / "embeddings")]) == EXIT_OK
    assert contents(tmp_path / "scores" / "quality") == contents(embedded / "scores" / "quality")
    assert contents(tmp_path / "embeddings" / "quality") == contents(embedded / "embeddings" / "quality")
    ours, theirs = decisions(embedded), pd.read_parquet(tmp_path / "kept" / "decisions").set_index("key")
    pd.testing.assert_frame_equal(ours, theirs)
    assert contents(tmp_path / "kept" / "subset" / "data") == contents(embedded / "subset" / "data")


def test_a_finished_run_says_so_and_does_nothing(cautious, caplog):
    before = {path: path.stat().st_mtime_ns for path in made_files(cautious)}
    assert clean(words_of(cautious)) == EXIT_OK
    assert "is complete already: nothing to do" in caplog.messages[-1]
    assert before == {path: path.stat().st_mtime_ns for path in made_files(cautious)}


def made_files(output: Path) -> list[Path]:
    parts = ("scores", "decided", "subset/data", "subset/index", "findings")
    return [path for part in parts for path in sorted((output / part).rglob("*")) if path.is_file()]


def words_of(output: Path, *more: str) -> list[str]:
    """The recipe that lies in an output, for that very output (it may be a copy)."""
    return ["--recipe", str(output / "recipe.yaml"), "--output", str(output), *more]


def test_of_an_edited_recipe_only_what_changed_is_done_again(scored, caplog):
    scores = (scored / "scores" / "summary.json").stat().st_mtime_ns
    edit(scored, "drop_fraction: 0.0", "drop_fraction: 0.2")
    assert clean(words_of(scored, "--yes")) == EXIT_OK
    assert "  quality: drop_fraction: 0.0 then, 0.2 now" in caplog.messages
    assert (scored / "scores" / "summary.json").stat().st_mtime_ns == scores
    assert summary(scored)["subset"]["images"] == RECORDS - 2 - int(0.2 * (RECORDS - 2))
    caplog.clear()
    edit(scored, "shard_size: 10000", "shard_size: 7")
    assert clean(words_of(scored, "--yes")) == EXIT_OK
    assert not any("done again" in message for message in caplog.messages)
    assert len(list((scored / "subset" / "data").iterdir())) == 6


def test_changed_scores_are_scored_again_and_what_depends_on_them_too(scored, caplog):
    edit(scored, "phash: true", "phash: false")
    assert clean(words_of(scored, "--yes")) == EXIT_OK
    assert "score is done again, for something changed:" in caplog.messages
    assert any(message.startswith("  phash: True then, ") for message in caplog.messages)
    assert "decide is done again, for something changed:" in caplog.messages
    assert "phash" not in pd.read_parquet(scored / "scores" / "quality").columns
    assert not any("near" in name for name in further(scored))


def test_images_of_an_earlier_recipe_stay_until_there_is_a_yes(scored):
    before = contents(scored / "subset")
    edit(scored, "drop_fraction: 0.0", "drop_fraction: 0.2")
    assert clean(words_of(scored)) == EXIT_UNANSWERED
    assert contents(scored / "subset") == before
    assert decisions(scored).keep.sum() < RECORDS - 2


def test_without_a_terminal_and_without_yes_no_image_is_written(planted, tmp_path, capsys):
    output = tmp_path / "out"
    words = ["--input", shard(planted), "--output", str(output), "--no-report"]
    assert clean(words) == EXIT_UNANSWERED
    assert not (output / "subset").exists()
    assert f"--recipe {output}/recipe.yaml --yes" in capsys.readouterr().out
    assert clean([*words_of(output), "--yes"]) == EXIT_OK
    assert (output / "subset" / "data").is_dir()


@pytest.mark.parametrize(("answer", "is_yes"), [("y", True), (" YES", True), ("", False), ("no", False)])
def test_on_a_terminal_the_question_is_asked_and_only_yes_is_a_yes(monkeypatch, answer, is_yes):
    recipe = new_recipe({}, {"data": {"input": ("in",), "output": "out"}})
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    planned = clean_write.Planned(recipe, "out", None, EarlierSubset("other", 48), 2, agreed=False)
    assert clean_write.has_yes(planned, yes=False) == is_yes
    assert asked == ["write 48 images as same in place of the images of an earlier recipe? [y/N] "]


@pytest.mark.parametrize("state", ["begun", "complete"])
def test_what_was_agreed_to_is_not_asked_again(state):
    recipe = new_recipe({}, {"data": {"input": ("in",), "output": "out"}})
    planned = clean_write.Planned(recipe, "out", None, EarlierSubset(state, 48), 2, agreed=False)
    assert clean_write.has_yes(planned, yes=False)


def test_another_input_into_the_same_output_is_refused_with_both_named(scored, planted, caplog):
    before = contents(scored)
    assert clean(["--input", str(planted / "other.tar"), "--output", str(scored)]) == EXIT_BAD_INPUT
    assert f"then: {shard(planted)}" in caplog.text
    assert f"now:  {planted / 'other.tar'}" in caplog.text
    assert contents(scored) == before


def test_a_folder_with_other_files_is_refused(tmp_path, planted, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert clean(["--input", shard(planted), "--output", str(tmp_path / "out")]) == EXIT_BAD_INPUT
    assert "not a cleaning run" in caplog.text


def test_an_input_without_records_is_an_error_and_nothing_is_written(tmp_path, caplog):
    write_webdataset(tmp_path / "in-%06d.tar", face_records(1))
    empty = tmp_path / "empty.tar"
    empty.write_bytes(b"\0" * 10240)
    assert clean(["--input", str(empty), "--output", str(tmp_path / "out"), "--yes", "--no-report"]) == EXIT_BAD_INPUT
    assert "no records found, so there is nothing to clean" in caplog.text
    assert not (tmp_path / "out" / "subset").exists()


def test_without_the_extra_for_the_page_nothing_is_begun_and_both_ways_out_are_named(
    tmp_path, planted, caplog, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["--input", shard(planted), "--output", str(tmp_path / "out"), "--yes"]
    assert clean(words) == EXIT_BAD_INPUT
    assert "'.[report]'" in caplog.text
    assert "--no-report" in caplog.text
    assert not (tmp_path / "out").exists()


def test_one_image_is_cleaned(tmp_path, planted):
    (one,) = write_webdataset(tmp_path / "in-%06d.tar", face_records(1))
    words = ["--embedding-model", str(planted / "recogniser.onnx"), "--yes"]
    assert clean(["--input", str(one), "--output", str(tmp_path / "out"), *words]) == EXIT_OK
    assert summary(tmp_path / "out")["subset"]["images"] == 1
    assert (tmp_path / "out" / "report.html").exists()


def test_an_incomplete_input_stops_after_scoring_unless_that_is_allowed(tmp_path, capsys):
    whole = write_truncated_tar(tmp_path / "in.tar", face_records(9))
    words = ["--input", str(whole), "--output", str(tmp_path / "out"), "--yes", "--no-report"]
    assert clean(words) == EXIT_INCOMPLETE
    assert "--allow-incomplete goes on without" in capsys.readouterr().out
    assert not (tmp_path / "out" / "decided").exists()
    assert clean([*words, "--allow-incomplete"]) == EXIT_INCOMPLETE
    assert summary(tmp_path / "out")["subset"]["images"] > 0


def test_an_output_inside_the_input_folder_is_not_read_as_input(tmp_path):
    write_webdataset(tmp_path / "in-%06d.tar", face_records(3))
    words = ["--input", str(tmp_path), "--output", str(tmp_path / "out"), "--yes", "--no-report", "--write", "folder"]
    assert clean(words) == EXIT_OK
    before = made(tmp_path / "out")
    assert clean(words) == EXIT_OK
    assert made(tmp_path / "out") == before


def test_a_dry_run_shows_the_stages_and_writes_nothing(tmp_path, planted, capsys):
    words = ["--input", shard(planted), "--output", str(tmp_path / "out"), "--embedding-model", str(planted / "r.onnx")]
    assert clean([*words, "--dry-run"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert [line[:9] for line in shown.splitlines() if line[:1].isdigit()][:4] == [
        "1. score:", "2. embed:", "3. decide", "4. report",
    ]  # fmt: skip
    assert "labels: " in shown
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_an_error_before_images_are_written(scored, monkeypatch, caplog):
    shutil.rmtree(scored / "subset")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    assert clean(words_of(scored, "--yes")) == EXIT_BAD_INPUT
    assert "1.0 kB are free. No image was written" in caplog.text
    assert clean(words_of(scored, "--write", "none")) == EXIT_OK
    assert not (scored / "subset").exists()


@pytest.mark.parametrize(
    "name",
    ["scores/summary.json", "shard-000000.tar"],
)
def test_a_disk_that_is_full_in_any_stage_ends_the_run_and_the_same_command_goes_on(
    cautious, planted, tmp_path, monkeypatch, name
):
    output = tmp_path / "out"
    words = ["--input", shard(planted), "--output", str(output), "--yes", "--no-report"]
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert clean(words) in (EXIT_BAD_INPUT, EXIT_INCOMPLETE)
    assert clean(words) == EXIT_OK
    assert made(output) == made(cautious)


def test_the_recipe_that_is_written_is_complete_explained_and_read_again(scored):
    text = (scored / "recipe.yaml").read_text()
    for section in ("data", "score", "embed", "policy", "decide", "subset", "report", "run"):
        assert f"\n{section}:\n" in text
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("  ") and ": " in line and "#" not in line]
    assert len(keys) > 60
    assert all(lines[number - 1].strip().startswith("#") for number in keys)
    assert to_yaml(parse_recipe(text.encode(), "recipe", {})) == text


def test_a_recipe_holds_no_secrets():
    inputs = ("s3://me:word@host/a.tar", "https://host/a.tar?X-Amz-Signature=word", "https://host/b.tar?download=true")
    text = to_yaml(new_recipe({}, {"data": {"input": inputs, "output": "out"}}))
    assert "word" not in text
    assert "input: ['s3://host/a.tar', 'https://host/a.tar', 'https://host/b.tar?download=true']" in text
    assert "What gives access is left out" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("drop_fraction: 0.0", "drop_fracton: 0.0", "quality has no key 'drop_fracton'. Did you mean 'drop_fraction'?"),
        ("drop_fraction: 0.0", "drop_fraction: 2", "quality.drop_fraction is 2; expected"),
        ("drop_wrong: false", "drop_wrong: true", "takes a face recognition network"),
        (
            "    near: 'off'",
            "    near: all",
            "near duplicates by auto (not near: {by: phash}) takes a face recognition",
        ),
        ("    mode: uniform", "    mode: linear", "weights: linear needs `low` and `high`"),
    ],
)
def test_an_error_in_the_recipe_names_file_and_line(scored, caplog, old, new, said):
    recipe = edit(scored, old, new)
    assert clean(["--recipe", recipe]) == EXIT_BAD_INPUT
    assert f"{recipe}, line " in caplog.text
    assert said in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [("--output x", "--output is not for here"), ("--btch-size 3", "--btch-size"), ("--min-side x", "--min-side")],
)
def test_further_options_of_a_stage_are_checked_before_anything_runs(scored, caplog, options, said):
    lines = (scored / "recipe.yaml").read_text().split("\n")
    place = next(number for number, line in enumerate(lines) if line.startswith("  options:"))
    lines[place] = f"  options: {options}"
    (scored / "recipe.yaml").write_text("\n".join(lines))
    assert clean(["--recipe", str(scored / "recipe.yaml")]) == EXIT_BAD_INPUT
    assert "score: options: " in caplog.text
    assert said in caplog.text


def test_a_review_and_conditions_are_obeyed_and_kept_in_the_recipe(scored, tmp_path):
    edit(scored, "drop_where: []", "drop_where: [key = 'face_010']")
    first = decisions(scored).iloc[5]
    (tmp_path / "review.csv").write_text(f"sha256,verdict\n{first.sha256.hex()},drop\n")
    assert clean(words_of(scored, "--review", str(tmp_path / "review.csv"), "--yes")) == EXIT_OK
    assert decisions(scored).loc[first.name].reason == "reviewed_drop"
    assert decisions(scored).loc["face_010"].reason == "drop_where"
    assert f"review: {tmp_path / 'review.csv'}" in (scored / "recipe.yaml").read_text()
