"""Rows that a notebook shows as faces."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.images.decode import ImageLimits, decode_rgb
from fiqa_core.shards import places
from fiqa_core.tables import faces_of, load_quality, read_faces
from fiqa_core.tables.face_view import caption, small_picture
from pipelines import score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.containers import write_tar
from tests.makers.images import encoded, face_pixels, jpeg_bytes
from tests.makers.photographs import needs_packaged_detector, photograph_files
from tests.makers.runs import score_shards

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """A run over a tar whose names and labels are hostile."""
    monkeypatch.setenv(places.CACHE_VARIABLE, str(tmp_path / "cache"))
    places.forget_places()
    members = [
        (f"{HOSTILE.replace('/', '')}.jpg", jpeg_bytes(0)),
        (f"{HOSTILE.replace('/', '')}.txt", f"{HOSTILE}\u202e\x1b[31m".encode()),
        ("text.jpg", b"no image"),
        ("large.png", encoded(face_pixels(2, 500), "PNG")),
        ("Zoë.jpg", jpeg_bytes(3)),
    ]
    write_tar(tmp_path / "a.tar", members)
    score_shards(tmp_path / "out", [tmp_path / "a.tar"])
    return tmp_path / "out"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(view: object) -> _Tags:
    found = _Tags()
    found.feed(view._repr_html_())
    found.close()
    return found


def test_a_frame_is_shown_as_small_pictures_with_hostile_names_as_text(out):
    frame = load_quality(out)
    found = parsed(faces_of(frame))
    assert {tag for tag, _ in found.tags} == {"div", "img"}
    assert all(set(attributes) <= {"style", "src", "alt"} for _, attributes in found.tags)
    sources = [attributes["src"] for tag, attributes in found.tags if tag == "img"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))) for each in sources]
    assert [max(picture.size) for picture in pictures] == [112, 112, 112]
    text = "\n".join(found.texts)
    assert "<script>alert(1)<" in text
    assert "Zoë" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "not_an_image" in text


def test_at_most_so_many_faces_are_shown_and_the_rest_is_counted(out):
    frame = load_quality(out)
    view = faces_of(frame, out, most=2)
    assert len(view.faces) == 2
    assert "and 2 more rows" in view._repr_html_()
    assert re.fullmatch(r"<2 faces; a notebook shows them>", repr(view))
    with pytest.raises(ValueError, match="at least 1"):
        faces_of(frame, most=0)


def test_a_part_of_a_frame_still_knows_its_table(out):
    frame = load_quality(out)
    worst = frame[frame.quality.notna()].sort_values("quality").head(2)
    view = faces_of(worst)
    assert [face.verified for face in view.faces] == [True, True]
    assert [face.row["key"] for face in view.faces] == worst.key.tolist()


def test_a_caption_has_quality_reason_label_and_key():
    row = {"quality": 0.12345, "reason": "duplicate", "label": "7", "key": "a\nb", "status": "scored"}
    assert caption(row) == ["0.123", "duplicate", "7", "a\\nb"]
    assert caption({"quality": None, "status": "corrupt", "key": None}) == ["corrupt"]
    assert len(caption({"key": "x" * 5000})[0]) == 120


@needs_packaged_detector
def test_of_a_photograph_the_face_is_shown_that_was_aligned_and_scored(tmp_path):
    photograph = photograph_files(1)[0]
    shutil.copy(photograph, tmp_path / "photo.jpg")
    arguments = ["--input", str(tmp_path / "photo.jpg"), "--output", str(tmp_path / "out"), "--align"]
    assert score_dataset.run([*arguments, "--device", "cpu"], MeanScorerSource()) == 0
    frame = load_quality(tmp_path / "out")
    (face,) = read_faces(frame, tmp_path / "out")
    expected = Aligner.from_detector().crop(decode_rgb(photograph.read_bytes(), ImageLimits()).pixels)
    difference = np.abs(face.scored_pixels().astype(int) - expected)
    assert difference.mean() < 1  # the table has its landmarks in 32 bits
    assert face.pixels().shape != (112, 112, 3)
    assert small_picture(face).size == (112, 112)
