"""The faces of README's first command."""

import tarfile

import numpy as np
import pytest

from examples.make_faces import ASTRONAUT, KINDS, STEPS, TEMPLATE, aligned, faces, write
from tests.makers.images import face_pixels

pytest.importorskip("skimage", reason="needs scikit-image (extra examples)")


def test_alignment_puts_the_points_where_the_template_has_them():
    image = np.zeros((512, 512, 3), np.uint8)
    for x, y in ASTRONAUT:
        image[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    bright = aligned(image, ASTRONAUT, TEMPLATE)[..., 0] > 128
    for x, y in TEMPLATE:
        assert bright[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5].any()
    upright = face_pixels(1)
    assert np.abs(aligned(upright, TEMPLATE, TEMPLATE).astype(int) - upright).max() <= 1


def test_the_shard_holds_each_face_as_it_is_and_every_step_of_every_kind_and_is_the_same_each_time(tmp_path):
    shown = faces(crops=1)
    assert list(shown) == ["astronaut", "lfw00"]
    count = write(tmp_path / "a.tar", shown)
    assert count == 2 * (1 + len(KINDS) * STEPS)
    write(tmp_path / "b.tar", shown)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as shard:
        names = shard.getnames()
    assert sum(name.endswith(".png") for name in names) == count
    assert "astronaut-blur-5.cls" in names
