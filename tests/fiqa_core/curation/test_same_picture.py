"""Copies of a photograph lie on top of each other; another photograph of the same face does not."""

import cv2
import numpy as np
import pytest

from benchmarks.planted_faces import read_faces
from fiqa_core.curation.findings.near_duplicates.same_picture import same_picture
from fiqa_core.curation.findings.near_duplicates.thumbnails import publish_thumbnails, thumbnails_of
from fiqa_core.images.preprocess import prepare
from fiqa_core.images.thumbnail import THUMBNAIL_BYTES, thumbnail
from fiqa_core.tables.quality_files import find_parts
from tests.makers.embedded import write_quality
from tests.shared import FACES, needs_shared

SAME = 0.97


def thumbs(images) -> np.ndarray:
    return np.stack([np.frombuffer(thumbnail(image), np.uint8) for image in images])


def moved(image: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    return cv2.warpAffine(image, np.array(matrix), (112, 112), borderMode=cv2.BORDER_REPLICATE)


def patched(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[50:66, 40:56] = 128
    return image


CHANGES = {
    "equal": lambda image: image,
    "recompressed": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "blurred a little": lambda image: cv2.GaussianBlur(image, (0, 0), 1),
    "shifted": lambda image: moved(image, [[1, 0, 2.5], [0, 1, -2]]),
    "cropped": lambda image: moved(image, [[1.06, 0, -3], [0, 1.06, -4]]),
    "mirrored": lambda image: image[:, ::-1].copy(),
    "with a patch": patched,
}


@pytest.fixture(scope="module")
def people() -> list[list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for face in read_faces(FACES, 120):
        found.setdefault(face.person, []).append(prepare(face.data).pixels)
    return list(found.values())


@needs_shared
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_picture_whichever_of_the_two_comes_first(people, change):
    faces = [images[0] for images in people]
    one, other = thumbs(faces), thumbs([CHANGES[change](face) for face in faces])
    assert np.mean(same_picture(one, other) >= SAME) >= 0.95
    assert np.mean(same_picture(other, one) >= SAME) >= 0.95


@needs_shared
def test_other_photographs_of_the_same_people_and_other_people_are_other_pictures(people):
    pairs = [(a, b) for images in people for n, a in enumerate(images) for b in images[:n]]
    pairs += [(one[0], other[0]) for n, one in enumerate(people) for other in people[:n]]
    found = same_picture(thumbs([a for a, _ in pairs]), thumbs([b for _, b in pairs]))
    assert len(found) > 60
    assert (found < SAME).all()


def test_pictures_without_structure_agree_with_nothing():
    flat = np.repeat(np.arange(0, 250, 50, dtype=np.uint8)[:, None], THUMBNAIL_BYTES, axis=1)
    noise = np.random.default_rng(0).integers(0, 256, (5, THUMBNAIL_BYTES), np.uint8)
    assert (same_picture(flat, flat) == 0).all()
    assert (same_picture(flat, noise) == 0).all()
    assert same_picture(flat[:0], flat[:0]).shape == (0,)


@pytest.mark.parametrize("store", ["local", "memory://thumbs"])
def test_thumbnails_are_read_by_row_from_any_store_and_are_zeros_where_there_is_none(tmp_path, store):
    values = np.random.default_rng(0).integers(0, 256, (250, THUMBNAIL_BYTES), np.uint8)
    table = write_quality(tmp_path / "t", [None] * 250, None, 100, thumb=values, without_thumb={7, 130})
    work = str(tmp_path / "work") if store == "local" else store
    publish_thumbnails(find_parts([str(table)]), work, work)
    values[[7, 130]] = 0
    rid = np.array([0, 7, 99, 100, 130, 249])
    np.testing.assert_array_equal(thumbnails_of(work, rid), values[rid])
    assert thumbnails_of(work, rid[:0]).shape == (0, THUMBNAIL_BYTES)
