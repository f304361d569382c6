"""The perceptual hash: alike for alike images, unlike for others, and its bits where they are documented."""

import cv2
import numpy as np

from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.preprocess import prepare
from tests.shared import lfw_faces, needs_shared


def differing(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_a_wave_sets_the_bit_of_its_frequency():
    steps = (np.arange(112) + 0.5) / 112
    for down, across in ((1, 1), (1, 2), (3, 5), (8, 8)):
        wave = np.outer(np.cos(np.pi * down * steps), np.cos(np.pi * across * steps))
        found = perceptual_hash(np.repeat(np.uint8(127 + 100 * wave)[..., None], 3, axis=2))
        place = (down - 1) * 8 + across - 1
        assert found >> (63 - place) & 1, (down, across)


def test_an_image_without_structure_has_hash_zero():
    for grey in (0, 97, 255):
        assert perceptual_hash(np.full((112, 112, 3), grey, np.uint8)) == 0


@needs_shared
def test_a_recompressed_darker_or_smaller_copy_differs_in_few_bits_and_another_face_in_many():
    faces = [prepare(face.data).pixels for face in lfw_faces(40)]
    hashes = [perceptual_hash(face) for face in faces]
    assert {value.bit_count() for value in hashes} == {32}
    for face, value in zip(faces, hashes, strict=True):
        recompressed = cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
        darker = (face * 0.7).astype(np.uint8)
        smaller = cv2.resize(cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA), (112, 112))
        assert max(differing(perceptual_hash(copy), value) for copy in (recompressed, darker, smaller)) <= 8
    others = [differing(a, b) for n, a in enumerate(hashes) for b in hashes[:n]]
    assert np.median(others) > 20
