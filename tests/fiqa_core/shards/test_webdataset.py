"""Samples of a tar as records: keys, labels, and a row for whatever is not an image."""

import io
import tarfile
from pathlib import Path

from fiqa_core.shards.unit import ReadSettings, Record
from fiqa_core.shards.webdataset import WebDataset
from fiqa_core.storage import StoredFile


def records(path: Path, files: dict[str, bytes], label_field: str = "") -> list[Record]:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
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
