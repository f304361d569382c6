"""The local disk as a store: links, deep trees, and names that look like patterns or URLs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fiqa_core import storage


def paths(folder) -> list[bytes]:
    return [file.path for file in storage.walk(str(folder))]


def test_links_to_folders_are_followed_and_those_that_lead_back_are_named(tmp_path, caplog):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "1.jpg").touch()
    (root / "a" / "2.jpg").touch()
    (root / "linked").symlink_to(elsewhere)
    (root / "a" / "b" / "back").symlink_to(root / "a")
    (root / "a" / "b" / "top").symlink_to("/")
    (root / "circle").symlink_to(root / "circle")
    assert paths(root) == [b"a/2.jpg", b"a/b/back", b"a/b/top", b"circle", b"linked/1.jpg"]
    assert f"{root}/a/b/back: a link back to {root}/a, not followed" in caplog.text


def test_two_folders_that_link_to_each_other_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").touch()
        (tmp_path / name / "to").symlink_to(tmp_path / other)
    assert paths(tmp_path) == [b"a/a.jpg", b"a/to/b.jpg", b"a/to/to", b"b/b.jpg", b"b/to/a.jpg", b"b/to/to"]


def test_a_tree_deeper_than_the_call_stack_is_walked(tmp_path):
    deep = str(tmp_path)
    for _ in range(1100):
        deep += "/d"
        Path(deep).mkdir()
    Path(f"{deep}/x.jpg").touch()
    try:
        assert paths(tmp_path) == [b"d/" * 1100 + b"x.jpg"]
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # shutil.rmtree would call itself 1,100 times


def test_size_and_version_are_those_of_the_file_and_change_with_it(tmp_path):
    face = tmp_path / "a.jpg"
    face.write_bytes(b"12345")
    (before,) = storage.walk(str(tmp_path))
    found = storage.stat(str(face))
    assert (before.size, before.version) == (5, found.version)
    face.write_bytes(b"54321")
    os.utime(face, (1, 1))
    (after,) = storage.walk(str(tmp_path))
    assert (after.path, after.size) == (before.path, before.size)
    assert after.version != before.version


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_two_colons_in_a_name_are_two_colons(tmp_path, prefix):
    (tmp_path / "a::b").mkdir()
    (tmp_path / "a::b" / "c::d.tar").write_bytes(b"x")
    name = f"{prefix}{tmp_path}/a::b/c::d.tar"
    assert storage.stat(name).url == f"{tmp_path}/a::b/c::d.tar"
    assert [file.shown for file in storage.expand_glob(f"{prefix}{tmp_path}/a::b/*.tar")] == [name]
    with storage.open_read(name) as stream:
        assert stream.read() == b"x"


def test_a_pattern_below_a_folder_whose_name_has_its_characters(tmp_path):
    for folder in ("br[1]", "br1", "q?"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "x.tar").touch()
    pattern = f"{tmp_path}/br[1]/*/x.ta[rz]"
    assert [file.shown for file in storage.expand_glob(pattern)] == [f"{tmp_path}/br[1]/sub/x.tar"]
    assert storage.glob_base(pattern) == f"{tmp_path}/br[1]"
    assert [file.shown for file in storage.expand_glob(f"{tmp_path}/q?/**/*.tar")] == [f"{tmp_path}/q?/sub/x.tar"]
    shutil.rmtree(tmp_path / "br[1]")
    assert [file.shown for file in storage.expand_glob(pattern)] == [f"{tmp_path}/br1/sub/x.tar"]


def test_a_pattern_names_folders_and_names_without_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    found = {file.shown.rpartition("/")[2]: file.kind for file in storage.expand_glob(f"{tmp_path}/*")}
    assert found == {"file": "file", "folder": "folder", "nowhere": "broken"}


def test_a_pattern_in_another_store_names_folders_too():
    for name in ("roots/a/1.jpg", "roots/b/c/2.jpg", "roots/3.tar"):
        store = storage.filesystem(f"memory://globs/{name}")
        store[0].pipe_file(store[1], b"x")
    found = {file.url: file.kind for file in storage.expand_glob("memory://globs/roots/*")}
    kinds = {"a": "folder", "b": "folder", "3.tar": "file"}
    assert found == {storage.absolute(f"memory://globs/roots/{name}"): kind for name, kind in kinds.items()}
    (deep,) = storage.expand_glob("memory://globs/*/b/c")
    assert deep.kind == "folder"
    assert len(storage.expand_glob("memory://globs/roots/**")) == 3
