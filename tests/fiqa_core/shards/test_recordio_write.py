"""RecordIO as it is written: read back by an independent reader, and by the product's own."""

import io

import pytest

from fiqa_core.shards.recordio.reader import RecordIO
from fiqa_core.shards.recordio.writer import MAX_EXACT, InsightFaceWriter, pack_record
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import stat
from tests.makers.images import jpeg_bytes
from tests.makers.recordio import MAGIC, payload, read_rec, record

IMAGES = [(0, jpeg_bytes(1, 24)), (0, MAGIC * 3 + b"x"), (1, jpeg_bytes(2, 24)), (2, jpeg_bytes(3, 24) + MAGIC)]


def test_header_images_and_identity_ranges_are_where_insightface_looks_for_them(tmp_path):
    with (
        (tmp_path / "train.rec").open("wb") as rec,
        (tmp_path / "train.idx").open("wb") as idx,
        (tmp_path / "property").open("wb") as properties,
        InsightFaceWriter(rec, idx, properties) as writer,
    ):
        assert [writer.add(label, image) for label, image in IMAGES] == [1, 2, 3, 4]
    data = (tmp_path / "train.rec").read_bytes()
    records = read_rec(data)
    keys = dict(map(int, line.split("\t")) for line in (tmp_path / "train.idx").read_text().splitlines())
    by_key = {key: records[at] for key, at in keys.items()}
    assert by_key[0] == ((5.0, 8.0), b"")
    assert [by_key[key] for key in range(1, 5)] == [((float(label),), image) for label, image in IMAGES]
    assert [by_key[key] for key in range(5, 8)] == [((1.0, 3.0), b""), ((3.0, 4.0), b""), ((4.0, 5.0), b"")]
    assert len(records) == 8
    assert (tmp_path / "property").read_text() == "3,112,112\n"
    file = stat(str(tmp_path / "train.rec"))
    assert file is not None
    read = [r for unit in RecordIO().plan(file, 2) for r in RecordIO().read(unit, ReadSettings())]
    assert [(r.key, r.label, r.data) for r in read] == [
        (str(n), str(label), image) for n, (label, image) in enumerate(IMAGES, 1)
    ]


@pytest.mark.parametrize("image", [b"", b"abc", MAGIC, b"1" + MAGIC, MAGIC * 2, b"1234" + MAGIC + b"12", MAGIC[:3]])
def test_records_are_split_where_the_magic_is_aligned_and_joined_again(image):
    assert pack_record(payload(image)) == record(payload(image))
    assert read_rec(pack_record(payload(image)))[0] == ((0.0,), image)


def test_labels_that_are_not_dense_runs_are_refused():
    with InsightFaceWriter(io.BytesIO(), io.BytesIO(), io.BytesIO()) as writer:
        writer.add(0, b"a")
        for label in (2, -1):
            with pytest.raises(ValueError, match="dense runs"):
                writer.add(label, b"b")
        writer.add(1, b"b")
        with pytest.raises(ValueError, match="dense runs"):
            writer.add(0, b"c")


def test_more_keys_than_float32_tells_apart_are_refused_but_in_the_plain_layout():
    assert MAX_EXACT == 2**24

    def write(images: int, labels: int, plain: bool) -> dict[int, tuple[tuple[float, ...], bytes]]:
        streams = (io.BytesIO(), io.BytesIO(), io.BytesIO())
        with InsightFaceWriter(*streams, plain=plain, most=5) as writer:
            for number in range(images):
                writer.add(number * labels // images, b"a")
        return read_rec(streams[0].getvalue())

    assert len(write(3, 1, False)) == 5
    with pytest.raises(ValueError, match="Write the plain layout"):
        write(4, 1, False)
    assert set(write(40, 5, True).values()) == {((float(label),), b"a") for label in range(5)}
    with pytest.raises(ValueError, match="more than 5 labels"):
        write(40, 6, True)
