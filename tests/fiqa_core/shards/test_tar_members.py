"""Every member type that GNU tar, bsdtar and Python write is read as tarfile reads it, with every neighbour."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.tar.stream import Gap, Member, members, open_tar
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.shards.webdataset import reader as webdataset
from tests.makers.hostile import TAR_END, tar_member

LIMIT = 1 << 22


def regular(data: bytes, limit: int = LIMIT) -> list[tuple[str, bytes | None]]:
    found = list(members(open_tar(io.BytesIO(data)), limit))
    assert not [gap for gap in found if isinstance(gap, Gap)]
    return [(m.name, m.data) for m in found if isinstance(m, Member) and m.kind == "file"]


def by_tarfile(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        # Of incremental dumps tarfile takes GNU tar's times for a folder in front of the name.
        return [(re.sub(r"^\d{11}/", "", m.name), archive.extractfile(m).read()) for m in archive if m.isfile()]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files with holes, long names, links, a pipe."""
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"first")
    with (root / "holes.jpg").open("wb") as stream:
        for place in range(9):
            stream.seek(place * 131_072)
            stream.write(bytes([65 + place]) * 5000)
        stream.truncate(1_500_000)
    with (root / "empty_holes.jpg").open("wb") as stream:
        stream.truncate(300_000)
    (root / ("l" * 150 + ".jpg")).write_bytes(b"long")
    (root / "ü.jpg").write_bytes(b"umlaut")
    (root / "sub").mkdir()
    (root / "sub" / "c.jpg").write_bytes(b"third")
    os.link(root / "a.jpg", root / "hard.jpg")
    (root / "soft.jpg").symlink_to("a.jpg")
    os.mkfifo(root / "pipe")
    (root / "z.jpg").write_bytes(b"last")
    return root


GNU = [
    ["--format=gnu", "--sparse"],
    ["--format=gnu", "--label=a volume"],
    ["--format=gnu", "--listed-incremental=../snapshot"],
    ["--format=posix", "--sparse", "--sparse-version=0.0"],
    ["--format=posix", "--sparse", "--sparse-version=0.1"],
    ["--format=posix", "--sparse", "--sparse-version=1.0"],
    ["--format=posix", "--pax-option=globexthdr.name=g,comment=all"],
    ["--format=posix", "--xattrs", "--label=a volume"],
    ["--format=oldgnu", "--sparse"],
]


@pytest.mark.parametrize("options", GNU, ids=" ".join)
def test_what_gnu_tar_writes_is_read_as_tarfile_reads_it(folder, tmp_path, options):
    if "GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("needs GNU tar")
    path = tmp_path / "t.tar"
    subprocess.run(["tar", "-cf", path, *options, "--sort=name", "."], cwd=folder, check=True)
    expected = by_tarfile(path.read_bytes())
    assert len(expected) >= 7
    assert regular(path.read_bytes()) == expected


@pytest.mark.parametrize("kind", ["pax", "ustar", "gnutar", "v7"])
def test_what_bsdtar_writes_is_read_as_tarfile_reads_it(folder, tmp_path, kind):
    if shutil.which("bsdtar") is None:
        pytest.skip("needs bsdtar (libarchive-tools)")
    path = tmp_path / "t.tar"
    if kind in ("ustar", "v7"):
        (folder / ("l" * 150 + ".jpg")).unlink()
    subprocess.run(["bsdtar", "-cf", path, f"--format={kind}", "."], cwd=folder, check=True)
    expected = by_tarfile(path.read_bytes())
    assert len(expected) >= 6
    assert regular(path.read_bytes()) == expected


@pytest.mark.parametrize("kind", [tarfile.CONTTYPE, tarfile.AREGTYPE, tarfile.REGTYPE])
def test_global_pax_attributes_hold_for_all_members_until_their_own_say_otherwise(kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "all.jpg"}) as tar:
        for name in ("a.jpg", "ü.jpg"):
            info = tarfile.TarInfo(name)
            info.size, info.type = 3, kind
            tar.addfile(info, io.BytesIO(b"abc"))
    assert regular(buffer.getvalue()) == [("all.jpg", b"abc"), ("ü.jpg", b"abc")] == by_tarfile(buffer.getvalue())


@pytest.mark.parametrize("stored", [True, False])
def test_a_hard_link_that_states_a_size_costs_no_neighbour_whether_content_follows_or_not(stored):
    link = tar_member(b"hard.jpg", b"abc", b"1")
    data = tar_member(b"a.jpg", b"1") + (link if stored else link[:BLOCK]) + tar_member(b"b.jpg", b"2") + TAR_END
    assert regular(data) == [("a.jpg", b"1"), ("b.jpg", b"2")]


def test_a_part_of_a_file_of_another_volume_and_a_list_of_a_folder_cost_no_neighbour(tmp_path):
    path = tmp_path / "t.tar"
    path.write_bytes(
        tar_member(b"label", b"", b"V") + tar_member(b"a.jpg", b"rest", b"M") + tar_member(b"sub/", b"Yx\0\0", b"D")
        + tar_member(b"b.jpg", b"2") + tar_member(b"b.cls", b"7") + TAR_END
    )  # fmt: skip
    unit = Unit(0, "webdataset", "t", str(path), 0, 0, 0, -1, -1, "")
    part, whole = webdataset.WebDataset().read(unit, ReadSettings())
    assert (part.key, part.fault.status.value) == ("a", "unreadable")
    assert "another volume" in part.fault.message
    assert (whole.key, whole.label, whole.data, whole.fault) == ("b", "7", b"2", None)


def test_a_sparse_image_is_expanded_within_the_limit_and_else_a_row_with_the_reason(folder, tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "a.jpg", "a.jpg")
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    huge = b"34 GNU.sparse.realsize=9999999999\n"
    bad = b"27 GNU.sparse.realsize=900\n"
    content = b"1\n0\n5000\n".ljust(BLOCK, b"\0") + b"x"
    sparse = [tar_member(b"x", records + size, b"x") + tar_member(b"s.jpg", content) for size in (huge, bad)]
    path.write_bytes(b"".join(sparse) + tar_member(b"z.jpg", b"2") + TAR_END)
    unit = Unit(0, "webdataset", "t", str(path), 0, 0, 0, -1, -1, "")
    first, second, last = webdataset.WebDataset().read(unit, ReadSettings())
    assert first.fault.status.value == "too_large"
    assert second.fault.status.value == "unreadable"
    assert "sparse" in second.fault.message
    assert (last.key, last.data) == ("z", b"2")
