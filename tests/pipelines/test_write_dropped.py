"""The images that a policy drops, written as folders by reason."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fiqa_core.curation.dropped import write_part as writing
from fiqa_core.curation.dropped.names import stem_of
from fiqa_core.runs.plan import plan_dataset
from pipelines.filter_dataset import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK
from pipelines.filter_dataset import run as filter_dataset
from tests.makers.containers import FaceRecord, face_records, samples, write_tar
from tests.makers.images import jpeg_bytes
from tests.makers.runs import score_shards
from tests.pipelines.test_every_container import WRITERS

HOSTILE = ["../../evil", "/etc/x", "a/b/c", "CON", "x" * 300, "Zoë", ".hidden", "a\\b", "~tilde", "<b>&"]


def source() -> list[FaceRecord]:
    """Different faces, an exact copy, and one that is no image."""
    some = face_records(20, 3, 40)
    copy = FaceRecord("copy", some[3].label, some[3].data, some[3].extension)
    return [*some, copy, FaceRecord("text", 2, b"no image at all")]


def scored(folder: Path, kind: str) -> Path:
    (folder / "in").mkdir(parents=True)
    WRITERS[kind](folder / "in", source())
    score_shards(folder / "q", [folder / "in"])
    return folder / "q"


def filtered(quality: Path, output: Path, *more: str) -> int:
    arguments = ["--quality", str(quality), "--output", str(output), "--drop-worst", "0.3"]
    return filter_dataset([*arguments, "--exact-duplicates", "all", "--write-dropped", *more])


def files(output: Path) -> dict[str, bytes]:
    root = output / "dropped"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def dropped(output: Path) -> pd.DataFrame:
    rows = pd.read_parquet(output / "decisions")
    return rows[~rows.keep]


@pytest.mark.parametrize("kind", ["folder", "webdataset", "webdataset, gzip", "parquet", "recordio", "insightface_bin"])
def test_every_dropped_image_is_written_byte_for_byte_in_the_folder_of_its_reason_and_identity(tmp_path, kind):
    out = tmp_path / "out"
    assert filtered(scored(tmp_path, kind), out) == EXIT_OK
    rows = dropped(out)
    assert set(rows.reason) == {"below_global_quantile", "duplicate_exact", "not_scored"}
    found = files(out)
    index = pd.concat([pd.read_parquet(path) for path in sorted((out / "dropped_index").glob("part-*.parquet"))])
    assert sorted(index.file) == sorted(found)
    assert sorted(index.sha256) == sorted(rows.sha256)
    for row in index.itertuples():
        reason, identity, _ = row.file.split("/")
        assert reason == row.reason
        assert identity == ("_unlabelled" if pd.isna(row.label) else row.label)
        assert hashlib.sha256(found[row.file]).digest() == row.sha256
    summary = json.loads((out / "summary.json").read_text())
    account = summary["dropped_images"]
    assert summary["complete"]
    assert account["images"] == len(rows)
    assert account["by_reason"] == rows.reason.astype(str).value_counts().to_dict()
    assert account["bytes"] == sum(map(len, found.values()))
    assert not (out / "_tmp").exists()
    assert not list((out / "dropped_index").glob("names-*"))


@pytest.mark.parametrize("written", ["folder", "none"])
def test_it_goes_with_any_way_of_writing_the_kept_ones(tmp_path, written, capsys):
    quality, out = scored(tmp_path, "folder"), tmp_path / "in" / "out"
    before = plan_dataset([str(tmp_path / "in")], "auto", 9, str(tmp_path / "plan")).records
    assert filtered(quality, out, "--write", written) == EXIT_OK
    said = capsys.readouterr().out
    count = len(dropped(out))
    assert f"dropped images written: {count} images" in said
    assert len(files(out)) == count
    assert (out / "subset").exists() == (written != "none")
    # The images that a run wrote are not input when the folder around the run is.
    assert plan_dataset([str(tmp_path / "in")], "auto", 9, str(tmp_path / "plan")).records == before


def test_hostile_names_and_labels_stay_inside_and_apart(tmp_path):
    members = []
    for number, name in enumerate(HOSTILE):
        members += [(f"k{number}.jpg", jpeg_bytes(number, 40)), (f"k{number}.txt", name.encode())]
    members += [("A/same.jpg", jpeg_bytes(50, 40)), ("B/same.jpg", jpeg_bytes(51, 40)), ("C/SAME.jpg", jpeg_bytes(52))]
    write_tar(tmp_path / "a.tar", members)
    score_shards(tmp_path / "q", [tmp_path / "a.tar"])
    out = tmp_path / "out"
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(out), "--min-quality", "1e6", "--write-dropped"]
    assert filter_dataset(arguments) == EXIT_OK
    found = files(out)
    assert len(found) == len(HOSTILE) + 3 == len(dropped(out))
    assert len({name.casefold() for name in found}) == len(found)
    assert {hashlib.sha256(data).digest() for data in found.values()} == set(dropped(out).sha256)
    assert all(name.count("/") == 2 and ".." not in name for name in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out", "q"]


def test_a_stem_has_reason_identity_and_name():
    assert stem_of("duplicate_exact", "7", "7/face.jpg") == "duplicate_exact/7/face"
    assert stem_of("min_quality", None, None) == "min_quality/_unlabelled/_"
    assert stem_of("min_quality", "a/b", "x.y.jpg") == "min_quality/a_b/x_y"


def test_a_run_that_broke_off_goes_on_and_gives_the_same_files(tmp_path, monkeypatch):
    quality = scored(tmp_path, "folder")
    assert filtered(quality, tmp_path / "whole") == EXIT_OK
    original = writing.put_in_place
    calls = []

    def breaks(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(writing, "put_in_place", breaks)
    assert filtered(quality, tmp_path / "out") not in (EXIT_OK, EXIT_INCOMPLETE)
    some = files(tmp_path / "out")
    assert 0 < len(some) < len(files(tmp_path / "whole"))
    monkeypatch.setattr(writing, "put_in_place", original)
    shutil.copytree(tmp_path / "out", tmp_path / "afresh")
    assert filtered(quality, tmp_path / "afresh", "--overwrite") == EXIT_OK
    assert files(tmp_path / "afresh") == files(tmp_path / "whole")
    assert filtered(quality, tmp_path / "out", "--resume") == EXIT_OK
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    account = json.loads((tmp_path / "out" / "summary.json").read_text())["dropped_images"]
    assert 0 < account["images_now"] < account["images"]
    assert filtered(quality, tmp_path / "out", "--resume") == EXIT_OK
    account = json.loads((tmp_path / "out" / "summary.json").read_text())["dropped_images"]
    assert account["images_now"] == 0


def test_a_file_that_was_lost_is_written_again_by_resume(tmp_path):
    quality = scored(tmp_path, "webdataset")
    assert filtered(quality, tmp_path / "out") == EXIT_OK
    before = files(tmp_path / "out")
    (tmp_path / "out" / "dropped" / sorted(before)[2]).unlink()
    assert filtered(quality, tmp_path / "out", "--resume") == EXIT_OK
    assert files(tmp_path / "out") == before


def test_dropped_images_may_be_added_to_a_finished_run(tmp_path):
    quality = scored(tmp_path, "webdataset")
    arguments = ["--quality", str(quality), "--output", str(tmp_path / "out"), "--drop-worst", "0.3"]
    assert filter_dataset([*arguments, "--exact-duplicates", "all"]) == EXIT_OK
    assert filtered(quality, tmp_path / "out", "--resume") == EXIT_OK
    assert len(files(tmp_path / "out")) == len(dropped(tmp_path / "out"))


@pytest.mark.parametrize("place", ["dropped/mine.txt", "dropped/not_scored/2/mine.jpg", "dropped_index/mine.txt"])
def test_only_files_of_the_run_are_removed_by_overwrite(tmp_path, place, caplog):
    quality, out = scored(tmp_path, "webdataset"), tmp_path / "out"
    assert filtered(quality, out) == EXIT_OK
    before = files(out)
    (out / place).write_bytes(b"mine")
    assert filtered(quality, out, "--overwrite") == EXIT_BAD_INPUT
    assert "mine" in caplog.text
    assert (out / place).read_bytes() == b"mine"
    assert {name: data for name, data in files(out).items() if data != b"mine"} == before
    (out / place).unlink()
    assert filtered(quality, out, "--overwrite", "--min-quality", "1e6") == EXIT_OK
    assert len(files(out)) == len(dropped(out)) > len(before)


def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path, caplog):
    quality, out = scored(tmp_path, "webdataset"), tmp_path / "out"
    assert filtered(quality, out) == EXIT_OK
    shutil.rmtree(out / "dropped")
    (tmp_path / "elsewhere").mkdir()
    (out / "dropped").symlink_to(tmp_path / "elsewhere")
    assert filtered(quality, out, "--resume") == EXIT_BAD_INPUT
    assert "is a link" in caplog.text
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_image_that_changed_costs_only_itself_and_is_named(tmp_path, capsys):
    quality, out = tmp_path / "q", tmp_path / "out"
    some = source()
    write_tar(tmp_path / "a.tar", samples(some))
    score_shards(quality, [tmp_path / "a.tar"])
    other = [FaceRecord(each.key, each.label, jpeg_bytes(99, 40) if each.key == "copy" else each.data) for each in some]
    write_tar(tmp_path / "a.tar", samples(other))
    assert filtered(quality, out) == EXIT_INCOMPLETE
    assert len(files(out)) == len(dropped(out)) - 1
    said = capsys.readouterr().out
    assert "PROBLEM" in said
    assert "'copy'" in said
    write_tar(tmp_path / "a.tar", samples(some))
    assert filtered(quality, out, "--resume") == EXIT_OK
    assert len(files(out)) == len(dropped(out))


def test_a_table_without_its_plan_is_refused_before_anything_is_decided(tmp_path, caplog):
    quality = scored(tmp_path, "webdataset")
    shutil.copytree(quality / "quality", tmp_path / "copy")
    assert filtered(tmp_path / "copy", tmp_path / "out") == EXIT_BAD_INPUT
    assert "the place of its images is unknown" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_moved_source_is_found(tmp_path):
    quality = scored(tmp_path, "parquet")
    (tmp_path / "in").rename(tmp_path / "now")
    assert filtered(quality, tmp_path / "out", "--moved", f"{tmp_path / 'in'}={tmp_path / 'now'}") == EXIT_OK
    assert len(files(tmp_path / "out")) == len(dropped(tmp_path / "out"))
