"""Only what a command wrote is written to or removed in an output, and never anything behind a link."""

import os
from pathlib import Path

import pytest

from fiqa_core.runs.folder import OutputError, remove_notes
from fiqa_core.runs.lock import hold_output, holder_of
from fiqa_core.scoring.run import prepare_output
from fiqa_core.storage import sweep
from tests.makers.runs import score_shards, write_shards


@pytest.fixture
def output(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_lock_that_is_a_link_is_refused_and_its_target_stays_as_it_is(output, tmp_path):
    target = tmp_path / "thesis.txt"
    target.write_text("process 1 on host")
    for link in (output / "_lock").symlink_to, (output / "_lock").hardlink_to:
        link(target)
        with pytest.raises(OutputError, match="is a link"), hold_output(str(output)):
            pass
        assert target.read_text() == "process 1 on host"
        assert (output / "_lock").exists()
        (output / "_lock").unlink()
    (output / "_lock").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is a link"), hold_output(str(output)):
        pass
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", ["my notes", "process 12 on host\nand my notes", "process"])
def test_a_lock_with_somebody_elses_content_is_refused_and_stays(output, content):
    (output / "_lock").write_text(content)
    with pytest.raises(OutputError, match="a file that no command here wrote"), hold_output(str(output)):
        pass
    assert (output / "_lock").read_text() == content


def test_a_refused_command_leaves_an_empty_file_of_that_name_where_it_was(output):
    (output / "_lock").touch()
    (output / "notes.md").write_text("mine")
    with hold_output(str(output)), pytest.raises(OutputError, match=r"notes\.md"):
        prepare_output(str(output), resume=False, overwrite=True)
    assert (output / "_lock").read_bytes() == b""
    assert (output / "notes.md").read_text() == "mine"


def test_a_lock_that_a_killed_command_left_is_taken_over_and_removed(output):
    (output / "_lock").write_text("process 123 on some.host")
    with hold_output(str(output)):
        assert holder_of(str(output)).startswith(f"process {os.getpid()} on ")
    assert not (output / "_lock").exists()
    assert holder_of(str(output)) == ""


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_lock_that_is_no_plain_file_is_refused(output, kind):
    if kind == "folder":
        (output / "_lock").mkdir()
    else:
        os.mkfifo(output / "_lock")
    with pytest.raises(OutputError, match="not a plain file"), hold_output(str(output)):
        pass
    assert (output / "_lock").exists()


@pytest.mark.parametrize("name", ["quality", "plan", "_tmp", "_progress", "plan/_tmp", "subset/data", "decisions"])
def test_a_link_in_the_place_of_a_folder_of_ours_is_refused(output, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "fiqa-0123").write_text("mine")
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="is a link"), hold_output(str(output)):
        pass
    assert (elsewhere / "fiqa-0123").read_text() == "mine"


def test_an_output_that_is_itself_a_link_is_used(tmp_path):
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big-disk")
    with hold_output(str(tmp_path / "out")):
        score_shards(tmp_path / "out", write_shards(tmp_path / "in", "a"))
    assert (tmp_path / "big-disk" / "summary.json").exists()


def test_sweeping_temporaries_leaves_other_files_and_what_is_behind_links(output, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    (output / "_tmp" / "fiqa-0a").mkdir(parents=True)
    (output / "_tmp" / "fiqa-0b").touch()
    (output / "_tmp" / "draft").touch()
    (output / "_tmp" / "fiqa-0c").symlink_to(tmp_path / "mine")
    assert sweep(str(output)) == 2
    assert sorted(path.name for path in (output / "_tmp").iterdir()) == ["draft", "fiqa-0c"]
    assert (tmp_path / "mine" / "x").exists()


def test_a_file_beside_the_progress_notes_stays_when_a_run_ends(output, tmp_path):
    shards = write_shards(tmp_path / "in", "a")
    plan = score_shards(output, shards, finish=False)
    (output / "_progress" / "my.json").write_text("{}")
    (output / "_progress" / "1-0123abcd.json").write_text("{}")
    assert plan.units
    with pytest.raises(OutputError, match=r"_progress/my\.json"):
        prepare_output(str(output), resume=True, overwrite=False)
    remove_notes(str(output))
    assert [path.name for path in (output / "_progress").iterdir()] == ["my.json"]


def test_a_lock_has_its_holders_name_from_the_moment_it_is_there(tmp_path, monkeypatch):
    # A command that is killed before it has written its name must not leave an empty file, which could be anybody's.
    monkeypatch.setattr(os, "pwrite", lambda *_: pytest.fail("the name is written after the file is there"))
    with pytest.raises(pytest.fail.Exception), hold_output(str(tmp_path)):
        pass
    assert (tmp_path / "_lock").read_bytes().startswith(f"process {os.getpid()} on ".encode())
