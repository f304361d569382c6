"""Labels of WebDataset sidecars as Windows tools, pandas and others write them: one identity is one label."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from fiqa_core.shards.label_text import hints, is_plain_sidecar, sidecar_text, trimmed, value_text, whole_number
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.shards.webdataset.reader import WebDataset

MARK = b"\xef\xbb\xbf"


def read(path: Path, sidecars: list[tuple[str, bytes]], label_field: str = "") -> list[Record]:
    with tarfile.open(path, "w") as tar:
        for n, (suffix, content) in enumerate(sidecars):
            for name, data in ((f"{n:03d}.jpg", b"image"), (f"{n:03d}.{suffix}", content)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    unit = Unit(0, "webdataset", str(path), str(path), 0, 0, 0, -1, 0, "")
    return list(WebDataset().read(unit, ReadSettings(label_field=label_field)))


TEXTS = {
    "plain": b"Ann\r\n",
    "UTF-8 with a mark": MARK + b"Ann\r\n",
    "UTF-16 little-endian": "\ufeffAnn\r\n".encode("utf-16-le"),
    "UTF-16 big-endian": "\ufeffAnn".encode("utf-16-be"),
    "UTF-32": "\ufeffAnn".encode("utf-32-le"),
}


@pytest.mark.parametrize("suffix", ["cls", "txt", "json"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_byte_order_mark_is_no_part_of_a_label(tmp_path, suffix, text):
    data = text.replace(b"Ann", b'{"label": "Ann"}') if suffix == "json" and b"\0" not in text else text
    if suffix == "json" and b"\0" in text:
        encoding = "utf-32" if text[:4] == b"\xff\xfe\0\0" else "utf-16"
        data = '{"label": "Ann"}'.encode(encoding)
    (record,) = read(tmp_path / "a.tar", [(suffix, data)])
    assert (record.label, record.note) == ("Ann", None)


def test_utf16_without_a_mark_is_no_label_and_a_note(tmp_path):
    (record,) = read(tmp_path / "a.tar", [("cls", "Ann!".encode("utf-16-le"))])
    assert record.label is None
    assert "UTF-16" in record.note


JSON = {
    "3": "3", "3.0": "3", "3.5": "3.5", "true": "true", "NaN": None, "null": None,
    "12345678901234567890": "12345678901234567890", '" Ann "': " Ann ", '"a\\nb"': "a\nb",
}  # fmt: skip


@pytest.mark.parametrize(("value", "label"), JSON.items())
def test_a_value_of_json_is_the_label_a_column_of_it_would_be(tmp_path, value, label):
    found = read(tmp_path / "a.tar", [("json", f'{{"label": {value}}}'.encode()), ("json", value.encode())])
    assert [record.label for record in found] == [label, label]


def test_a_json_field_is_found_in_any_case_and_a_nested_one_is_a_note(tmp_path):
    found = read(tmp_path / "a.tar", [("json", b'{"Identity": "Ann"}'), ("json", b'{"label": [3], "x": 1}')])
    assert [(r.label, r.label_from) for r in found] == [("Ann", ".json field 'Identity'"), (None, "")]
    assert "'label' is a list or an object" in found[1].note


def test_each_record_says_where_its_label_came_from_or_which_fields_look_like_one(tmp_path):
    person = json.dumps({"person": "Ann", "width": 3, "file_name": "a"}).encode()
    found = read(tmp_path / "a.tar", [("cls", b"3"), ("txt", b"Ann"), ("json", person), ("cls", b" \n")])
    assert [(r.label, r.label_from) for r in found] == [("3", ".cls"), ("Ann", ".txt"), (None, "person"), (None, "")]


def test_columns_that_look_like_an_identity_are_told_from_those_of_files():
    assert hints(["id", "personId", "identity_id", "image_label", "CelebName", "sha256", "file_name"]) == (
        "personId, identity_id, CelebName"
    )


def test_a_label_that_a_cls_file_cannot_hold_is_known():
    assert all(is_plain_sidecar(label) for label in ("Ann", "3", "a\nb", "a\0b"))
    assert not any(
        is_plain_sidecar(label) for label in ("", " Ann", "Ann\n", "\ufeffAnn", "A\0n\0", "\x85Ann", "Ann\x00")
    )


def test_values_that_are_no_label_have_no_text():
    assert [value_text(value) for value in (None, [1], {"a": 1}, float("nan"))] == [None] * 4


@pytest.mark.parametrize("data", [b"Ann\0", b"Ann\r\n\0", b"Ann".ljust(16, b"\0"), "Ann\r\n\0".encode("utf-16")])
def test_zeros_at_the_end_of_a_label_file_are_not_part_of_the_label(data):
    assert trimmed(sidecar_text(data)) == "Ann"


def test_a_label_of_one_letter_filled_up_with_zeros_is_not_taken_for_utf_16():
    assert trimmed(sidecar_text(b"A\0\0\0")) == "A"
    with pytest.raises(ValueError, match="UTF-16 without a byte order mark"):
        sidecar_text("An".encode("utf-16-le"))


def test_a_whole_number_that_pandas_wrote_as_a_float_is_one_label_in_every_sidecar():
    assert [whole_number(text) for text in ("3", "3.0", "-3.0", "3.5", "v3.0", "3.00")] == [
        "3", "3", "-3", "3.5", "v3.0", "3.00",
    ]  # fmt: skip
    assert not is_plain_sidecar("3.0")
