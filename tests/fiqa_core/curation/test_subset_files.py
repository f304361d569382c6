"""What a filter run may remove of its output: its own files, never a user's, and nothing finished without asking."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.findings.search_result import remove_other_searches
from fiqa_core.curation.subset.own_files import clear_subset, clear_work, is_begun, note_names
from fiqa_core.curation.subset.settings import SubsetError
from fiqa_core.storage import filesystem
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from tests.makers.images import png_bytes
from tests.makers.runs import score_shards


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A scored folder of 12 identities with 2 images each."""
    root = tmp_path_factory.mktemp("set")
    for number in range(24):
        folder = root / "in" / f"id{number % 12:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(png_bytes(number, 20))
    score_shards(root / "q", [root / "in"])
    return root / "q"


def command(table: Path, output: Path, *more: str) -> list[str]:
    return ["--quality", str(table), "--output", str(output), *more]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["folder", "webdataset", "recordio", "parquet"])
def test_overwrite_refuses_files_of_a_user_anywhere_below_the_subset_and_removes_nothing(table, tmp_path, kind, caplog):
    out = tmp_path / "out"
    assert run(command(table, out, "--write", kind)) == 0
    places = [
        "data/notes.txt",
        "data/id00/mine.png",
        "data/.hidden",
        "data/new/deep/x",
        "index/mine.csv",
        "mine",
        "_work/x",
    ]
    for name in places:
        mine = out / "subset" / name
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("mine")
        before = everything(out)
        caplog.clear()
        assert run(command(table, out, "--write", kind, "--overwrite")) == EXIT_BAD_INPUT
        assert name in caplog.text
        assert everything(out) == before
        mine.unlink()
    assert run(command(table, out, "--write", "webdataset", "--overwrite")) == 0
    assert [path.suffix for path in (out / "subset" / "data").iterdir()] == [".tar"]


def test_overwrite_refuses_a_link_below_the_data_and_leaves_what_it_leads_to(table, tmp_path, caplog):
    out = tmp_path / "out"
    assert run(command(table, out, "--write", "folder")) == 0
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "1.png").write_text("mine")
    (out / "subset" / "data" / "album").symlink_to(tmp_path / "album")
    assert run(command(table, out, "--write", "folder", "--overwrite")) == EXIT_BAD_INPUT
    assert "data/album" in caplog.text
    assert (tmp_path / "album" / "1.png").read_text() == "mine"


def test_images_are_never_written_through_a_link(table, tmp_path, caplog):
    out = tmp_path / "out"
    (tmp_path / "album").mkdir()
    assert run(command(table, out, "--write", "folder")) == 0
    shutil.rmtree(out / "subset" / "index")
    shutil.rmtree(out / "subset" / "data" / "id00")
    (out / "subset" / "data" / "id00").symlink_to(tmp_path / "album")
    assert run(command(table, out, "--write", "folder", "--resume")) != 0
    assert "id00" in caplog.text
    assert not list((tmp_path / "album").iterdir())


def test_images_whose_index_was_never_written_are_still_known_as_the_runs_own(table, tmp_path):
    out = tmp_path / "out"
    assert run(command(table, out, "--write", "folder")) == 0
    shutil.rmtree(out / "subset" / "index")  # as a run that died between the images and their index leaves it
    with pytest.raises(SubsetError, match="only what a filter run wrote"):
        clear_subset(str(out))
    data = out / "subset" / "data"
    note_names(str(out), 0, [str(path.relative_to(data)) for path in data.rglob("*.png")])
    clear_subset(str(out))
    assert not is_begun(str(out))


def test_work_that_is_done_is_cleared_and_a_users_file_beside_it_is_not(tmp_path):
    note_names(str(tmp_path), 0, ["a.png"])
    (tmp_path / "subset" / "_work" / "mine.txt").write_text("mine")
    clear_work(str(tmp_path))
    assert [path.name for path in (tmp_path / "subset" / "_work").iterdir()] == ["mine.txt"]


def test_in_a_store_a_users_file_below_the_subset_stands_in_the_way_too(table, caplog):
    out = "memory://subset-files/out"
    assert run(["--quality", str(table), "--output", out, "--write", "folder"]) == 0
    filesystem(out)[0].pipe("/subset-files/out/subset/data/id00/mine.png", b"mine")
    again = ["--quality", str(table), "--output", out, "--write", "folder", "--overwrite"]
    assert run(again) == EXIT_BAD_INPUT
    assert "data/id00/mine.png" in caplog.text
    filesystem(out)[0].rm("/subset-files/out/subset/data/id00/mine.png")
    assert run(again) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["--write", "folder"], ["--write", "recordio"]),
        (["--write", "folder"], []),
        (["--write", "folder"], ["--write", "none"]),
        (["--write", "folder"], ["--write", "folder", "--relabel"]),
        (["--write", "webdataset"], ["--write", "webdataset", "--shard-size", "5"]),
        ([], ["--shard-size", "5"]),
    ],
)
def test_resume_with_another_write_is_refused_and_removes_nothing(table, tmp_path, first, second, caplog):
    out = tmp_path / "out"
    assert run(command(table, out, *first)) == 0
    before = everything(out)
    assert run(command(table, out, *second, "--resume")) == EXIT_BAD_INPUT
    assert "--resume removes nothing that is finished" in caplog.text
    assert everything(out) == before


def test_a_list_of_kept_rows_is_followed_by_their_images_and_stays(table, tmp_path):
    out = tmp_path / "out"
    assert run(command(table, out)) == 0
    manifest = everything(out / "manifest")
    assert run(command(table, out, "--write", "webdataset", "--resume")) == 0
    assert everything(out / "manifest") == manifest
    assert json.loads((out / "summary.json").read_text())["subset"]["images"] == 24
    assert run(command(table, out, "--write", "webdataset", "--resume")) == 0


def test_numbered_folders_sort_as_their_numbers_do(table, tmp_path):
    out = tmp_path / "out"
    assert run(command(table, out, "--write", "folder", "--relabel")) == 0
    names = sorted(path.name for path in (out / "subset" / "data").iterdir())
    assert names == [f"{number:02d}" for number in range(12)]
    (index,) = (out / "subset" / "index").iterdir()
    rows = pq.read_table(index).to_pylist()
    # ImageFolder's class is the place of the folder in their order.
    assert all(names.index(row["out_key"].partition("/")[0]) == row["new_label"] for row in rows)


@pytest.mark.parametrize("content", [b"[]", b"{" * 50_000, b'{"kind": "filter_dataset"}', b"\xff"])
def test_a_hostile_run_json_of_a_filter_run_gets_a_sentence(table, tmp_path, content, caplog):
    out = tmp_path / "out"
    assert run(command(table, out)) == 0
    (out / "run.json").write_bytes(content)
    assert run(command(table, out, "--resume")) == EXIT_BAD_INPUT
    assert "run.json: not readable as a filter run's" in caplog.text


def test_a_changed_account_of_a_filter_run_is_made_again(table, tmp_path):
    out = tmp_path / "out"
    assert run(command(table, out)) == 0
    before = json.loads((out / "summary.json").read_text())
    (out / "summary.json").write_text('{"complete": true, "manifest_files": 1}')
    assert run(command(table, out, "--resume")) == 0
    assert json.loads((out / "summary.json").read_text()) == before


def test_a_users_parquet_beside_the_findings_is_no_finding(tmp_path):
    folder = tmp_path / "findings"
    folder.mkdir()
    for name in ("my-notes.parquet", "pairs-000000-aaaaaaaaaaaa.parquet"):
        (folder / name).write_bytes(b"")
    remove_other_searches(str(tmp_path), "b" * 12)
    assert [path.name for path in folder.iterdir()] == ["my-notes.parquet"]
