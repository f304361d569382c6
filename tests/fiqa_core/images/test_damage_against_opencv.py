"""A quick version of benchmarks/image_fuzz.py: what becomes of damaged files, with OpenCV as the witness."""

from collections import Counter

import pytest

from benchmarks.image_fuzz import mutations, outcome, sources
from fiqa_core.images.decode import ImageLimits, decode_rgb

SOURCES = sources()
ROUNDS, SEED = 80, 7


def outcomes(kind: str) -> tuple[Counter[str], list[str]]:
    """(how many of each outcome, the messages of what was refused though OpenCV gives the sound file's pixels)."""
    sound = decode_rgb(SOURCES[kind], ImageLimits()).pixels
    found = [outcome(data, sound) for data in mutations(SOURCES[kind], ROUNDS, SEED)]
    return Counter(name for name, _ in found), [message for name, message in found if name == "lost"]


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind.startswith("jpeg")])
def test_a_damaged_jpeg_is_refused_or_has_opencvs_pixels(kind: str) -> None:
    counts, lost = outcomes(kind)
    assert counts["alone"] + counts["differs"] == 0, counts
    assert counts["refused"] > ROUNDS // 3, counts
    # A table was damaged in a part that these pixels do not use.
    assert all("belong to no segment" in message for message in lost), lost


@pytest.mark.parametrize("kind", ["png", "png palette"])
def test_a_png_is_never_scored_with_other_pixels(kind: str) -> None:
    counts, lost = outcomes(kind)
    assert not lost, lost
    assert counts["refused"] + counts["untouched"] == ROUNDS, counts


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if not kind.startswith(("jpeg", "png"))])
def test_damage_to_the_other_formats_is_seldom_read_otherwise_than_by_opencv(kind: str) -> None:
    counts, lost = outcomes(kind)
    assert counts["alone"] + counts["differs"] + len(lost) <= ROUNDS // 10, counts
    assert counts["refused"] > ROUNDS // 10, counts
