"""`review.csv`: what is read from it, and what is refused."""

from pathlib import Path

import pytest

from fiqa_core.curation.decisions.review import Entry, ReviewError, read_review

A, B = "a" * 64, "B" * 64


def written(folder: Path, text: str) -> str:
    place = folder / "review.csv"
    place.write_bytes(text.encode())
    return str(place)


def test_a_review_is_read_whoever_wrote_it(tmp_path):
    # As a spreadsheet saves it: byte order mark, other order, a column more, capital letters, quotes, an empty line.
    text = f'\ufefflabel,sha256,seen_by,verdict,note\r\n"O\'Hara, M",{A},me,KEEP,"two\nlines"\r\n\r\n\'=x,{B},,,\r\n'
    assert read_review(written(tmp_path, text)).entries == (
        Entry(A, "keep", "O'Hara, M", "two\nlines"),
        Entry(B.lower(), "", "=x", ""),
    )


def test_only_sha256_and_verdict_are_needed_and_a_repeated_line_is_one(tmp_path):
    found = read_review(written(tmp_path, f"sha256,verdict\n{A},drop\n{A},drop\n"))
    assert found.entries == (Entry(A, "drop", None, ""),)


def test_notes_and_the_order_of_lines_do_not_change_the_digest(tmp_path):
    one = read_review(written(tmp_path, f"sha256,verdict,label,note\n{A},drop,,x\n{B},,c,\n")).digest()
    two = read_review(written(tmp_path, f"sha256,verdict,label,note\n{B},,c,y\n{A},drop,,\n")).digest()
    other = read_review(written(tmp_path, f"sha256,verdict,label,note\n{B},,d,\n{A},drop,,\n")).digest()
    assert one == two != other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,verdict\nx,keep\n", "no column 'sha256'; its first line has key, verdict"),
        ("", "its first line has nothing"),
        (f"sha256,verdict\n{A[1:]},keep\n", "line 2: sha256 is 'aaa"),
        (f"sha256,verdict\n{A},kept\n", "line 2: verdict is 'kept', expected keep, drop, or nothing"),
        (f"sha256,verdict\n{A},keep\n{A},drop\n", "line 3: decides otherwise than line 2"),
        (f"sha256,verdict,label,note\n{A},keep,a,b,c\n", "line 2: more cells than columns"),
    ],
)
def test_a_review_that_cannot_be_obeyed_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(ReviewError) as refused:
        read_review(written(tmp_path, text))
    assert said in str(refused.value)
    assert "review.csv" in str(refused.value)


def test_a_review_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "review.csv").write_bytes(b"sha256,verdict\n\xff\xfe")
    with pytest.raises(ReviewError, match="not valid UTF-8 at byte 15"):
        read_review(str(tmp_path / "review.csv"))
