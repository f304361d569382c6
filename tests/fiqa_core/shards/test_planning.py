"""What is planned of what was named: nothing is dropped without a word, and nothing is read twice."""

import logging
import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import Plan, PlanError, plan_dataset
from fiqa_core.shards import sources
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import ReadSettings
from tests.makers.images import png_bytes
from tests.makers.recordio import payload, write_rec

FACE = png_bytes(1, 16)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def plan(tmp_path):
    def make(*inputs: object, container: str = "auto", unit_size: int = 1000) -> Plan:
        return plan_dataset([str(i) for i in inputs], container, unit_size, str(tmp_path / "out" / "plan"))

    return make


def write_tar(path: Path, names: str = "abc") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "face").write_bytes(FACE)
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.add(path.parent / "face", f"{name}.png")
    (path.parent / "face").unlink()
    return path


def write_images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(FACE)
    return folder


def shards(plan: Plan) -> list[str]:
    return [unit.shard for unit in plan.units]


def records(plan: Plan) -> list[tuple[str, int, str | None, str | None]]:
    """(shard, index, key, label) of every record; each has its image."""
    found = []
    for unit in plan.units:
        for record in container_of(unit).read(unit, ReadSettings()):
            assert record.data == FACE
            found.append((unit.shard, record.index, record.key, record.label))
    assert max(Counter((shard, index) for shard, index, _, _ in found).values()) == 1
    return found


def test_the_case_of_a_suffix_does_not_matter(root, plan):
    expected = [str(write_tar(root / name)) for name in ("B.TAR", "a.tar", "d.Tar")]
    made = plan(root)
    assert shards(made) == expected
    assert len(records(made)) == 9


def test_unknown_files_among_shards_are_counted_and_named(root, plan, caplog):
    write_tar(root / "a.tar")
    for name in ("c.tar.bz2", "d.rar", "README"):
        (root / name).touch()
    assert shards(plan(root)) == [str(root / "a.tar")]
    assert f"{root}: passed over 3 files that hold no records: README, c.tar.bz2, d.rar" in caplog.text


def test_unknown_files_among_images_are_counted_and_named(root, plan, caplog):
    write_images(root, "a/1.png")
    (root / "a" / "notes.md").touch()
    assert len(records(plan(root))) == 1
    assert f"{root}: passed over 1 file that holds no records: a/notes.md" in caplog.text


@pytest.mark.parametrize("first", ["images", "shards"])
def test_a_folder_of_several_formats_is_refused_however_late_the_second_comes(root, plan, first, monkeypatch):
    monkeypatch.setattr(sources, "_LOOK_AT", 20)
    if first == "images":
        write_images(root, *(f"a/{n:04}.png" for n in range(30)))
        write_tar(root / "z.tar")
    else:
        write_tar(root / "a.tar")
        (root / "b").mkdir()
        for number in range(30):
            (root / "b" / f"{number}.txt").touch()
        write_images(root, "z.png")
    with pytest.raises(PlanError, match=r"several formats: .*(z.tar|z.png)"):
        plan(root)
    assert len(plan(root, container="webdataset").units) == 1


@pytest.mark.parametrize("named", ["in", "in/*", "in/dang.tar"])
def test_a_link_that_leads_nowhere_and_is_named_as_a_shard_is_an_error(root, plan, named, tmp_path):
    write_tar(root / "a.tar")
    (root / "dang.tar").symlink_to(root / "gone.tar")
    with pytest.raises(PlanError, match=r"dang\.tar.*a link that leads nowhere"):
        plan(tmp_path / named)


def test_an_image_that_is_a_link_to_nowhere_is_a_record_with_a_reason(root, plan):
    write_images(root, "a.png")
    (root / "b.png").symlink_to(root / "gone.png")
    for inputs in ([root], [root / "*.png"]):
        (unit,) = plan(*inputs).units
        faults = [record.fault for record in container_of(unit).read(unit, ReadSettings())]
        assert [fault and fault.status for fault in faults] == [None, "unreadable"]


def test_folders_that_a_pattern_matches_are_expanded_as_if_they_were_named(root, plan):
    tar = write_tar(root / "one.tar")
    images = write_images(root / "faces", "id1/a.png", "id2/b.png")
    more = write_tar(root / "shards" / "two.tar")
    by_pattern = plan(root / "*")
    assert shards(by_pattern) == [str(images), str(tar), str(more)]
    assert by_pattern == plan(images, tar, root / "shards")
    assert len(records(by_pattern)) == 8


def test_linked_identity_folders_are_read(root, plan, tmp_path):
    store = write_images(tmp_path / "store", "a.png", "b.png")
    (root / "person").symlink_to(store)
    (store / "again").symlink_to(root)
    assert [record[2:] for record in records(plan(root))] == [("person/a.png", "person"), ("person/b.png", "person")]


def test_image_files_of_a_pattern_share_one_listing_that_is_cut_into_units(root, plan, tmp_path):
    write_images(root, *(f"{number:04}.png" for number in range(250)))
    made = plan(root / "*.png", unit_size=100)
    assert [unit.records for unit in made.units] == [100, 100, 50]
    assert len(list((tmp_path / "out" / "plan").glob("*.parquet"))) == 1
    assert [(shard, index) for shard, index, _, _ in records(made)] == [(str(root), n) for n in range(250)]


def test_a_pattern_over_identity_folders_keeps_the_labels(root, plan):
    write_images(root, "id1/a.png", "id2/a.png", "id2/b.png")
    expected = [("id1/a.png", "id1"), ("id2/a.png", "id2"), ("id2/b.png", "id2")]
    for pattern in ("*/*.png", "**/*.png", "**"):
        assert [record[2:] for record in records(plan(root / pattern))] == expected


def test_images_named_one_by_one_are_gathered_by_folder(root, plan, monkeypatch):
    write_images(root, "x/a.png", "x/b.png", "y/a.png")
    monkeypatch.chdir(root)
    made = plan("x/b.png", "y/a.png", "x/a.png")
    assert records(made) == [("x", 0, "a.png", None), ("x", 1, "b.png", None), ("y", 0, "a.png", None)]


def test_a_folder_and_files_in_it_are_read_once(root, plan):
    write_images(root, "a/1.png", "a/2.png", "a/.hidden/3.png")
    write_images(root, ".aside/4.png")
    made = plan(root / "a" / "1.png", root / "a", root, root / "a" / ".hidden" / "3.png", root / "a/*.png", f"{root}/")
    assert [key for _, _, key, _ in records(made)] == ["a/.hidden/3.png", "a/1.png", "a/2.png"]
    both = plan(root, root / ".aside")
    assert records(both)[-1] == (str(root / ".aside"), 0, "4.png", None)


def test_a_shard_named_twice_is_read_once_and_it_is_said(root, plan, caplog):
    tar = write_tar(root / "a.tar")
    assert shards(plan(tar, root, root / "*.tar")) == [str(tar)]
    assert "2 inputs were named more than once" in caplog.text


def test_however_a_place_is_written_it_is_the_same_input(root, plan, monkeypatch):
    write_images(root / "faces", "a.png")
    write_tar(root / "t" / "x.tar")
    monkeypatch.chdir(root)
    ways = [("faces", "t/x.tar"), ("faces/", "./t/x.tar"), (f"{root}/faces", f"{root}/t/"), ("../in/faces/", "t")]
    identities = [[unit.identity() for unit in plan(*way).units] for way in ways]
    assert identities == [identities[0]] * len(ways)


def test_changed_content_of_an_image_changes_the_unit_and_a_second_look_does_not(root, plan):
    write_images(root, "a.png", "b.png")
    first = plan(root)
    assert plan(root) == first
    (root / "b.png").write_bytes(FACE[::-1])
    os.utime(root / "b.png", (1, 1))
    assert plan(root).units[0].identity() != first.units[0].identity()


def write_output(folder: Path) -> None:
    (folder / "quality").mkdir(parents=True)
    (folder / "plan").mkdir()
    for name in ("quality/part-000000-0123456789ab.parquet", "plan/units.parquet", "plan/files-0123456789ab.parquet"):
        pq.write_table(pa.table({"x": [1]}), folder / name)
    (folder / "run.json").write_text(
        '{"inputs": [], "unit_size": 4, "plan_version": 2, "package_version": "0", "units": 1, "settings": {}}'
    )
    (folder / "summary.json").write_text("{}")


@pytest.mark.parametrize("pattern", ["", "*", "**"])
def test_the_output_of_a_run_inside_the_input_never_becomes_input(root, plan, pattern, caplog):
    caplog.set_level(logging.INFO)
    write_images(root, "id1/a.png", "id2/b.png")
    write_output(root / "earlier")
    write_output(root / "id2" / "earlier")
    found = {key.rpartition("/")[2] for _, _, key, _ in records(plan(root / pattern))}
    assert found == {"a.png", "b.png"}
    assert "the output of scoring runs, not input" in caplog.text
    assert "passed over" not in caplog.text


def test_the_output_that_is_planned_for_never_becomes_input_before_it_is_begun(tmp_path, root):
    write_images(root, "a.png")
    workspace = root / "out" / "plan"
    for inputs in ([root], [root, root / "*"], [root / "**"], [root]):
        assert len(records(plan_dataset([str(i) for i in inputs], "auto", 10, str(workspace)))) == 1


def test_a_foreign_run_json_hides_nothing(root, plan):
    write_tar(root / "quality" / "a.tar")
    (root / "run.json").write_text('{"made by": "another tool"}')
    pq.write_table(pa.table({"image": [FACE]}), root / "quality" / "b.parquet")
    with pytest.raises(PlanError, match="several formats"):
        plan(root)


def test_two_colons_and_brackets_in_names(root, plan):
    tar = write_tar(root / "br[1]" / "a::b.tar")
    assert len(records(plan(tar))) == len(records(plan(root / "br[1]" / "*.tar"))) == 3


def test_a_name_that_is_no_text_is_refused_where_the_table_would_hold_it(root, plan):
    odd = os.fsdecode(os.fsencode(root) + b"/caf\xe9")
    write_images(Path(odd), "a.png")
    with pytest.raises(PlanError, match=r"caf\\xe9: this name is not valid UTF-8.*ln -s"):
        plan(odd)
    assert [key for _, _, key, _ in records(plan(root))] == ["caf\\xe9/a.png"]
    (root / "link").symlink_to(odd)
    assert len(records(plan(root / "link"))) == 1
    write_tar(root / "shards" / os.fsdecode(b"\xe9.tar"))
    with pytest.raises(PlanError, match=r"\\xe9.tar: this name is not valid UTF-8"):
        plan(root / "shards")


def test_verification_sets_beside_a_record_file_are_not_a_second_format_and_alone_they_are_read(root, plan, caplog):
    write_rec(root / "train.rec", [payload(FACE, 1.0, 0)])
    (root / "property").write_text("1,112,112")
    verification = pickle.dumps(([FACE, FACE], [True]))
    for name in ("lfw.bin", "agedb_30.bin"):
        (root / name).write_bytes(verification)
    assert shards(plan(root)) == [str(root / "train.rec")]
    assert "passed over" not in caplog.text
    (root / "train.rec").unlink()
    assert [Path(name).name for name in shards(plan(root))] == ["agedb_30.bin", "lfw.bin"]


def test_a_database_that_is_a_folder_is_one_shard_and_its_lock_is_passed_over_in_silence(root, plan, caplog):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(root / "faces.lmdb")) as database, database.begin(write=True) as transaction:
        transaction.put(b"a.png", FACE)
    found = plan(root / "faces.lmdb")
    assert shards(found) == [str(root / "faces.lmdb" / "data.mdb")]
    assert [key for _, _, key, _ in records(found)] == ["a.png"]
    assert "passed over" not in caplog.text
