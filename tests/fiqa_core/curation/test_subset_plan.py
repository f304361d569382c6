"""Who writes what: every kept row once, in order, in shards of the size asked for."""

import string

from hypothesis import given
from hypothesis import strategies as st

from fiqa_core.curation.subset.labels import in_order
from fiqa_core.curation.subset.plan import _ranges
from fiqa_core.curation.subset.settings import Slice, SubsetSettings, cut
from fiqa_core.shards.output_names import file_stem, sample_key
from fiqa_core.shards.unit import Unit

COUNTS = st.lists(st.integers(1, 40), max_size=30)


def slices_of(counts: list[int], container: str) -> tuple[Slice, ...]:
    units = (Unit(n, container, f"s{n}", f"/s{n}", 0, 0, 0, -1, 1, "") for n in range(len(counts)))
    return tuple(Slice(str(n), unit, 0, count) for n, (unit, count) in enumerate(zip(units, counts, strict=True)))


@given(COUNTS, st.integers(1, 50), st.sampled_from(["webdataset", "folder", "parquet", "recordio"]))
def test_tasks_have_every_row_once_in_order_and_begin_at_output_shards(counts, size, container):
    slices = slices_of(counts, container)
    ranges = list(_ranges(slices, SubsetSettings("webdataset", size), False))
    rows = [
        (int(piece.decisions), row)
        for first, images in ranges
        for piece in cut(slices, first, images)
        for row in range(piece.skip, piece.skip + piece.take)
    ]
    assert rows == [(number, row) for number, count in enumerate(counts) for row in range(count)]
    assert all(first % size == 0 and images > 0 for first, images in ranges)


@given(COUNTS, st.integers(1, 50))
def test_of_tars_little_is_read_twice(counts, size):
    slices = slices_of(counts, "webdataset")
    passed_over = 0
    for first, images in _ranges(slices, SubsetSettings("webdataset", size), False):
        passed_over += cut(slices, first, images)[0].skip
    assert passed_over <= sum(counts) / 8


@given(st.text(max_size=300))
def test_names_never_lead_out_of_their_folder_and_readers_take_them_as_they_are(key):
    for name in (sample_key(key), file_stem(key, key), file_stem(None, key)):
        parts = name.split("/")
        assert all(part not in ("", ".", "..") and not set(part) & set('\\:*?"<>|~\0\n') for part in parts)
        assert all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in parts)
    assert "." not in sample_key(key).rpartition("/")[2]
    assert not sample_key(key).startswith("__")


@given(st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=40))
def test_ordinary_keys_stay_what_they_are(key):
    if not key.startswith("__"):
        assert sample_key(key) == key or sample_key(key) == f"_{key}"
        assert sample_key(f"m.01/{key}.jpg").rpartition("/")[2] in (key, f"_{key}")


def test_labels_are_numbered_as_numbers_only_if_all_are():
    assert in_order({"10": 1, "9": 1, "-1": 1}) == ["-1", "9", "10"]
    assert in_order({"10": 1, "9": 1, "b": 1}) == ["10", "9", "b"]
