"""Samples of a tar as records: keys, labels, and a row for whatever is not an image."""

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

from fiqa_core.shards.unit import ReadSettings, Record
from fiqa_core.shards.webdataset.reader import WebDataset
from fiqa_core.storage import StoredFile
from tests.makers.hostile import TAR_END, long_named_member, tar_member


def records(path: Path, files: dict[str, bytes], label_field: str = "") -> list[Record]:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return read(path, label_field)


def read(path: Path, label_field: str = "") -> list[Record]:
    container = WebDataset()
    (unit,) = container.plan(StoredFile(str(path), str(path), path.stat().st_size, ""), 1000)
    return list(container.read(unit, ReadSettings(label_field=label_field)))


def test_labels_come_from_cls_before_json_before_txt_whatever_the_order(tmp_path):
    files = {
        "a.jpg": b"1", "a.cls": b"7", "a.json": b'{"label": 8}',
        "b.json": b'{"identity": "Ann"}', "b.jpg": b"2",
        "c.txt": b"nine\n", "c.jpg": b"3",
        "d.jpg": b"4",
    }  # fmt: skip
    found = [(r.key, r.label, r.data) for r in records(tmp_path / "t.tar", files)]
    assert found == [("a", "7", b"1"), ("b", "Ann", b"2"), ("c", "nine", b"3"), ("d", None, b"4")]


def test_a_named_field_is_taken_from_json(tmp_path):
    files = {"a.jpg": b"1", "a.cls": b"7", "a.json": b'{"label": 8, "who": "Ann"}'}
    assert [r.label for r in records(tmp_path / "t.tar", files, "who")] == ["Ann"]


def test_a_bad_sidecar_costs_the_label_not_the_image(tmp_path):
    (record,) = records(tmp_path / "t.tar", {"a.jpg": b"1", "a.json": b"{"})
    assert (record.label, record.data, record.fault) == (None, b"1", None)
    assert record.note is not None
    assert "json" in record.note


def test_names_with_dots_and_several_images_of_a_sample_are_records_of_their_own(tmp_path):
    files = {"J.Smith_1.jpg": b"1", "J.Smith_1.cls": b"5", "J.Smith_2.jpg": b"2", "J.Smith_2.cls": b"6"}
    found = [(r.key, r.label, r.index) for r in records(tmp_path / "t.tar", files)]
    assert found == [("J.Smith_1", "5", 0), ("J.Smith_2", "6", 1)]


def test_names_that_point_out_of_the_archive_are_rows_with_their_reason(tmp_path):
    files = {"../evil.jpg": b"1", "/abs.jpg": b"2", "x/../y.jpg": b"3", "good.jpg": b"4"}
    found = [r.fault.status.value if r.fault else "ok" for r in records(tmp_path / "t.tar", files)]
    assert found == ["unsafe_name", "unsafe_name", "unsafe_name", "ok"]


def test_a_sample_without_an_image_is_a_row_and_mac_litter_is_not(tmp_path):
    found = records(tmp_path / "t.tar", {"a.json": b"{}", "._b.jpg": b"x", ".DS_Store": b"x", "b.jpg": b"1"})
    assert [(r.key, r.fault.status.value if r.fault else "ok") for r in found] == [("a", "missing_image"), ("b", "ok")]


def test_a_name_that_is_not_utf8_is_safe_wherever_its_stray_bytes_stand(tmp_path):
    members = [(b"\xffface.jpg", b"1"), (b"\xffface.cls", b"7"), (b"b\xff/c.jpg", b"2"), (b"\xff/../d.jpg", b"3")]
    path = tmp_path / "t.tar"
    path.write_bytes(b"".join(tar_member(name, data) for name, data in members) + TAR_END)
    found = [(r.key, r.label, r.fault.status.value if r.fault else "ok") for r in read(path)]
    assert found == [("\\xffface", "7", "ok"), ("b\\xff/c", None, "ok"), ("\\xff/../d", None, "unsafe_name")]


def test_a_backslash_that_points_out_of_the_archive_is_unsafe(tmp_path):
    found = records(tmp_path / "t.tar", {"..\\a.jpg": b"1", "\\b.jpg": b"2", "C:c.jpg": b"3", "d..e.jpg": b"4"})
    assert [r.fault.status.value if r.fault else "ok" for r in found] == ["unsafe_name"] * 3 + ["ok"]


def test_a_label_that_is_half_a_character_is_written_out(tmp_path):
    files = {"a.jpg": b"1", "a.json": b'{"label": "\\ud800"}', "b.jpg": b"2", "b.cls": b"7"}
    assert [r.label for r in records(tmp_path / "t.tar", files)] == ["\\ud800", "7"]


def test_long_labels_are_shortened_and_stay_apart(tmp_path):
    files = {"a.jpg": b"1", "a.cls": b"x" * 5000 + b"a", "b.jpg": b"2", "b.cls": b"x" * 5000 + b"b"}
    labels = [r.label for r in records(tmp_path / "t.tar", files)]
    assert [len(label) for label in labels] == [1024, 1024]
    assert len(set(labels)) == 2


def test_a_suffix_in_capitals_is_an_image_or_a_sidecar_all_the_same(tmp_path):
    files = {"d.JPG": b"1", "d.CLS": b"7", "e.Json": b'{"label": 8}', "e.Jpeg": b"2"}
    assert [(r.key, r.label) for r in records(tmp_path / "t.tar", files)] == [("d", "7"), ("e", "8")]


def test_a_name_of_more_than_4096_characters_is_a_row_with_a_short_key_and_its_label(tmp_path):
    name = b"folder.v1/" + b"n" * 5000
    members = [(name + b".jpg", b"1"), (name + b".cls", b"7"), (name + b"2.jpg", b"2"), (b"good.jpg", b"3")]
    path = tmp_path / "t.tar"
    path.write_bytes(b"".join(long_named_member(name, data) for name, data in members) + TAR_END)
    first, second, good = read(path)
    for record, data in ((first, b"1"), (second, b"2")):
        assert record.fault.status.value == "unsafe_name"
        assert "4096" in record.fault.message
        assert record.data == data
        assert len(record.key) < 400
    assert first.key != second.key
    assert first.label == "7"
    assert (good.key, good.fault) == ("good", None)


def test_many_names_of_a_megabyte_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "t.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for number in range(40):
            stream.write(long_named_member(b"%03d" % number + b"n" * 1_000_000 + b".jpg", b""))
        stream.write(TAR_END)
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({record.key for record in found}) == 40
    assert {record.fault.status.value for record in found} == {"unsafe_name"}
    assert peak < 20e6


def test_a_link_to_a_target_of_a_megabyte_has_a_short_message(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 500_000
        tar.addfile(link)
    (record,) = read(path)
    assert record.fault.status.value == "unreadable"
    assert len(record.fault.message) < 500


def test_files_of_a_sample_that_lie_apart_are_warned_of_once(tmp_path, caplog):
    apart = {"a.cls": b"1", "b.cls": b"2", "c.jpg": b"x", "a.jpg": b"x", "b.jpg": b"x"}
    assert len(records(tmp_path / "apart.tar", apart)) == 5
    (warning,) = caplog.records
    assert "apart.tar" in warning.message
    assert "'a'" in warning.message
    assert "--sort=name" in warning.message


def test_labels_that_are_not_there_at_all_are_no_reason_to_warn(tmp_path, caplog):
    records(tmp_path / "t.tar", {"a.jpg": b"1", "b.jpg": b"2", "c.json": b"{}", "d.jpg": b"3", "d.cls": b"1"})
    assert not caplog.records


def test_a_damaged_archive_keeps_the_samples_around_the_break_and_has_one_row_for_it(tmp_path):
    path = tmp_path / "t.tar"
    good = tar_member(b"a.jpg", b"1") + tar_member(b"a.cls", b"7")
    path.write_bytes(good + tar_member(b"b.jpg", b"", size_field=b"-0000001000\0") + good + TAR_END)
    first, gap, last = read(path)
    for record in (first, last):
        assert (record.key, record.label, record.data) == ("a", "7", b"1")
    assert (gap.key, gap.index, gap.fault.status.value) == (None, 1, "shard_unreadable")
    assert "bytes 2048 to 2560 of the archive are lost" in gap.fault.message
    assert last.index == 2
