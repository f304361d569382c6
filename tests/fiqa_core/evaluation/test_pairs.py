"""Pair lists and the names in them: every format that is read, every way of writing a name, every refusal."""

import numpy as np
import pytest

from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.evaluation.pairs import read_pairs
from fiqa_core.evaluation.sources import Qualities
from fiqa_core.evaluation.templates import Templates, read_templates


def listed(tmp_path, text):
    path = tmp_path / "pair_list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def named(pairs):
    return [
        (pairs.names[a], pairs.names[b], bool(mated)) for a, b, mated in zip(pairs.a, pairs.b, pairs.mated, strict=True)
    ]


@pytest.mark.parametrize("text", ["x y 1\ny z 0\n", "x\ty\t1\r\ny\tz\t0\r\n", " x  y 1 \n\ny z 0", "x y 1\ny z 0\n\n"])
def test_a_line_names_two_images_and_whether_they_show_one_person(tmp_path, text):
    assert named(read_pairs(listed(tmp_path, text))) == [("x", "y", True), ("y", "z", False)]


def test_lines_are_whole_across_the_blocks_that_a_long_list_is_read_in(tmp_path, monkeypatch):
    monkeypatch.setattr("fiqa_core.evaluation.text_lines._BLOCK", 50)
    expected = [(f"person-{i}", f"person-{i + 1}", i % 3 == 0) for i in range(100)]
    text = "".join(f"{a} {b} {int(mated)}\n" for a, b, mated in expected)
    assert named(read_pairs(listed(tmp_path, text))) == expected
    with pytest.raises(EvaluationError, match="line 101: 2 words, which is not a pair"):
        read_pairs(listed(tmp_path, text + "person-1 person-2\n"))


@pytest.mark.parametrize("text", ["\ufeffx y 1\ny z 0\n", "# name name same\nx y 1\n#\ny z 0\n"])
def test_a_byte_order_mark_and_comments_are_no_pairs(tmp_path, text):
    assert named(read_pairs(listed(tmp_path, text))) == [("x", "y", True), ("y", "z", False)]


def test_a_bad_line_keeps_its_number_below_comments(tmp_path):
    with pytest.raises(EvaluationError, match="line 3: 2 words, which is not a pair"):
        read_pairs(listed(tmp_path, "# mine\na b 1\na b\n"))


def test_pairs_with_themselves_and_pairs_twice_are_counted_and_said(tmp_path, caplog):
    pairs = Dataset.read("set", listed(tmp_path, "x y 1\ny x 1\nx x 1\nx z 0\nx z 0\n")).pairs
    assert (pairs.self_pairs(), pairs.repeated(), len(pairs)) == (1, 2, 5)
    assert "1 pair is of an image with itself" in caplog.text
    assert "2 pairs are in the list already" in caplog.text


@pytest.mark.parametrize(("text", "said"), [("a b 1\n", "has no non-mated"), ("a b 0\n", r"has no mated \(`a b 1`\)")])
def test_a_list_of_one_kind_of_pairs_is_refused_with_its_path(tmp_path, text, said):
    with pytest.raises(EvaluationError, match=f"pair_list.txt: {said}"):
        Dataset.read("set", listed(tmp_path, text))


def test_lfws_own_list_is_read(tmp_path):
    pairs = read_pairs(listed(tmp_path, "1\t2\nAnn\t1\t12\nAnn\t2\tBob\t3\n"))
    assert named(pairs) == [("Ann/Ann_0001", "Ann/Ann_0012", True), ("Ann/Ann_0002", "Bob/Bob_0003", False)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b 1\na b 2\n", "line 2: 3 words, which is not a pair. Expected `a b 1`"),
        ("a b 1\na b 1 1\n", "line 2: 4 words, which is not a pair"),
        ("a b yes\n", "line 1: 3 words, which is not a pair"),
        ("1\t2\nAnn\tone\t2\n", "line 2: .*LFW's `name n m`"),
        ("", "holds no pairs"),
        ("\n\n", "holds no pairs"),
        (b"a b 1\n\xff\xfe 1 0\n", "line 2: byte 0xff is not UTF-8"),
        (b"1\t2\nAnn\t1\t2\nAnn\xe9\t1\t2\n", "line 3: byte 0xe9 is not UTF-8"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(EvaluationError, match=said):
        read_pairs(listed(tmp_path, text))


def test_a_name_finds_its_row_with_or_without_extension_and_folders():
    index = KeyIndex(["lfw/images/Ann/Ann_0001.jpg", "lfw/images/Bob/Bob_0001.jpg", "lfw/images/Bob/x.PNG"], "table")
    names = ["lfw/images/Ann/Ann_0001.jpg", "lfw/images/Bob/Bob_0001", "Bob/x.png", "Ann/Ann_0001", "Bob_0001"]
    assert index.require(names, "pairs").tolist() == [0, 1, 2, 0, 1]


def test_a_file_name_finds_no_row_whose_folders_are_others():
    index = KeyIndex(["Ann/0001.jpg", "Bob/0002.jpg"], "table")
    assert index.find(["Bob/0001.jpg", "nn/0001", "set/Ann/0001.png", "0001", "Ann/0001"]).tolist() == [-1, -1, 0, 0, 0]
    assert KeyIndex(["0001.jpg"], "table").find(["Ann/0001"]).tolist() == [0]


def test_a_name_that_two_rows_share_finds_neither():
    index = KeyIndex(["a/1.jpg", "b/1.jpg", "c/2.jpg"], "table")
    assert index.find(["a/1", "1", "2"]).tolist() == [0, -1, 2]
    twice = KeyIndex(["same", "same"], "table")
    with pytest.raises(EvaluationError, match="Several rows have that key"):
        twice.require(["same"], "pairs")


def test_a_missing_name_is_said_with_the_nearest_key():
    index = KeyIndex(["Ann_0001", None, "Bob_0001"], "quality.parquet")
    with pytest.raises(
        EvaluationError, match=r"pairs: 1 of 2 .*quality.parquet.*'Ann_0003'.*nearest key is 'Ann_0001'"
    ):
        index.require(["Bob_0001", "Ann_0003"], "pairs")
    with pytest.raises(EvaluationError, match="no keys at all"):
        KeyIndex([], "empty").require(["x"], "pairs")


def test_a_template_is_its_medias_averages_summed_and_as_bad_as_its_worst_image(tmp_path):
    path = tmp_path / "face_tid_mid.txt"
    # Template 7: media 1 is a video of two frames, media 2 a photo. Template 9: the same photo alone.
    path.write_text("f1.jpg 7 1\nphoto.jpg 7 2\nf2.jpg 7 1\nphoto.jpg 9 2\n")
    templates = read_templates(str(path))
    assert templates.names == ["7", "9"]
    vectors = {"f1.jpg": [2.0, 0.0], "f2.jpg": [4.0, 2.0], "photo.jpg": [0.0, 3.0]}
    of_entries = np.array([vectors[image] for image in templates.images], np.float32)
    # (2, 0) and (4, 2) average to (3, 1); with (0, 3) they sum to (3, 4).
    np.testing.assert_allclose(templates.sums(of_entries.__getitem__), [[3.0, 4.0], [0.0, 3.0]], atol=1e-12)
    quality = {"f1.jpg": 0.5, "f2.jpg": 0.2, "photo.jpg": 0.9}
    assert templates.qualities(np.array([quality[image] for image in templates.images])).tolist() == [0.2, 0.9]


@pytest.mark.parametrize("text", ["a\t7\t1\r\nb\t9\t2\r\n", "\ufeffa 7 1\n# later\nb  9 2\n"])
def test_a_template_list_may_have_tabs_a_byte_order_mark_and_comments(tmp_path, text):
    templates = read_templates(listed(tmp_path, text))
    assert (templates.names, templates.images) == (["7", "9"], ["a", "b"])


def test_only_images_of_templates_that_pairs_name_are_asked_for(tmp_path):
    media = tmp_path / "media.txt"
    media.write_text("a 1 1\nb 2 1\nc 3 1\nd 3 2\ne 4 1\n")
    dataset = Dataset.read("set", listed(tmp_path, "3 1 1\n4 1 0\n"), str(media))
    assert dataset.images == ["a", "c", "d", "e"]
    table = Qualities(KeyIndex(list("acde"), "table"), np.array([0.1, 0.4, 0.3, 0.9]), None)
    found = dict(zip(dataset.pairs.names, dataset.qualities(table, "q").tolist(), strict=True))
    assert found == {"1": 0.1, "3": 0.3, "4": 0.9}


def test_many_images_are_summed_in_blocks_as_at_once(monkeypatch):
    random = np.random.default_rng(0)
    template = np.sort(np.append(np.arange(9), random.integers(0, 9, 191)))
    media = template * 100 + np.arange(200) // 2
    vectors = random.normal(size=(200, 3))
    templates = Templates([str(t) for t in range(9)], [str(i) for i in range(200)], template, media)
    whole = templates.sums(vectors.__getitem__)
    asked = []
    monkeypatch.setattr("fiqa_core.evaluation.templates._ENTRIES_AT_ONCE", 30)
    assert np.array_equal(templates.sums(lambda part: asked.append(part) or vectors[part]), whole)
    assert len(asked) > 3
    expected = [
        sum(vectors[(template == t) & (media == m)].mean(axis=0) for m in set(media[template == t])) for t in range(9)
    ]
    np.testing.assert_allclose(whole, expected, atol=1e-12)


def test_what_is_no_template_list_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="Expected lines `image template media`"):
        read_templates(listed(tmp_path, "a 1\n"))
