"""Network input: OpenCV's resize, channel order, and the original's scores on the golden images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, from_image, prepare
from fiqa_core.images.resize import to_network_size
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.scoring.scorer import QualityScorer
from schemas.reasons import Status
from tests.makers.faces import requires_shared
from tests.makers.hostile import hostile_images
from tests.makers.images import encoded, face_pixels, jpeg_bytes, png_bytes
from tests.makers.stand_in import GOLDEN, write_checkpoint

IMAGES = sorted((GOLDEN / "images").glob("*"))


@pytest.mark.parametrize("size", [(112, 96), (16, 16), (97, 113), (250, 250), (640, 480), (2000, 300)])
def test_resize_is_opencvs_inter_linear(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resized = to_network_size(pixels)
    np.testing.assert_array_equal(resized, cv2.resize(pixels, (112, 112), interpolation=cv2.INTER_LINEAR))
    assert resized.shape == (112, 112, 3)
    assert resized.dtype == np.uint8
    assert resized.flags.c_contiguous


def test_resize_of_views_and_to_other_sides() -> None:
    pixels = face_pixels(0, 200)
    np.testing.assert_array_equal(
        to_network_size(pixels[::-1, :, ::-1], 96), cv2.resize(pixels[::-1, :, ::-1].copy(), (96, 96))
    )


def test_network_size_is_left_alone() -> None:
    pixels = face_pixels(0, 112)
    assert to_network_size(pixels) is pixels


def test_resize_does_not_depend_on_opencvs_threads() -> None:
    pixels = face_pixels(0, 1500)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = to_network_size(pixels)
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(to_network_size(pixels), alone)
    finally:
        cv2.setNumThreads(before)


def test_prepared_input_and_stored_size() -> None:
    prepared = prepare(encoded(face_pixels(0, 200)[:160], "PNG"))
    assert prepared.pixels.shape == (112, 112, 3)
    assert prepared.pixels.flags.c_contiguous
    assert (prepared.width, prepared.height) == (200, 160)


def test_bgr_files_are_turned_round() -> None:
    rgb = prepare(jpeg_bytes(0)).pixels
    bgr = prepare(jpeg_bytes(0), channel_order=ChannelOrder.BGR_FILES).pixels
    np.testing.assert_array_equal(bgr, rgb[:, :, ::-1])
    assert bgr.flags.c_contiguous


def test_a_file_written_with_red_and_blue_exchanged_is_seen_as_it_was() -> None:
    face = face_pixels(0)
    as_the_extraction_scripts_write = encoded(face[:, :, ::-1], "PNG")
    np.testing.assert_array_equal(
        prepare(as_the_extraction_scripts_write, channel_order=ChannelOrder("bgr-files")).pixels, face
    )


@requires_shared
@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_golden_image_is_what_the_original_fed(path: Path) -> None:
    """The original: cv2.imread, a swap to RGB or (`--color_channel BGR`) none, cv2.resize."""
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert read is not None
    fed = cv2.resize(read, (112, 112)) if read.shape[:2] != (112, 112) else read
    data = path.read_bytes()
    np.testing.assert_array_equal(prepare(data, channel_order=ChannelOrder.RGB).pixels, fed[:, :, ::-1])
    np.testing.assert_array_equal(prepare(data, channel_order=ChannelOrder.BGR_FILES).pixels, fed)


def test_golden_scores(tmp_path: Path) -> None:
    loaded = load_checkpoint(str(write_checkpoint(tmp_path / "model.pt", "vit_t-token")))
    scorer = QualityScorer(loaded, device="cpu")
    golden = json.loads((GOLDEN / "vit_t-token" / "expected.json").read_text())
    for order, key in ((ChannelOrder.RGB, "quality_rgb"), (ChannelOrder.BGR_FILES, "quality_bgr_unswapped")):
        files = [(GOLDEN / "images" / name).read_bytes() for name in golden[key]]
        quality = scorer.score_pixels(np.stack([prepare(data, channel_order=order).pixels for data in files])).quality
        expected = np.array(list(golden[key].values()))
        assert np.abs(quality - expected).max() < 1e-4 * np.ptp(expected)


def test_every_way_of_giving_an_image_gives_the_same_input(tmp_path: Path) -> None:
    data = png_bytes(0, 150)
    path = tmp_path / "face.png"
    path.write_bytes(data)
    expected = prepare(data).pixels
    for image in (str(path), path, data, Image.open(path), face_pixels(0, 150)):
        np.testing.assert_array_equal(from_image(image), expected)


def test_an_opened_image_is_turned_upright_as_its_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format in ("JPEG", "PNG", "TIFF"):
        path = tmp_path / f"face.{image_format.lower()}"
        Image.fromarray(face_pixels(0, 150)[:120]).save(path, exif=exif)
        np.testing.assert_array_equal(from_image(Image.open(path)), from_image(path))


def test_a_rejected_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(jpeg_bytes(0)[:500])
    with pytest.raises(ImageRejected, match=r"face\.jpg") as caught:
        from_image(path)
    assert caught.value.status is Status.TRUNCATED


def test_an_opened_image_that_turns_out_damaged_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(png_bytes(0)[:5000])
    with pytest.raises(ImageRejected) as caught:
        from_image(Image.open(path))
    assert caught.value.status is Status.TRUNCATED


@pytest.mark.parametrize(
    "image",
    [np.zeros((112, 112), np.uint8), np.zeros((112, 112, 4), np.uint8), np.zeros((112, 112, 3), np.float32), 5, None],
    ids=["grey array", "four channels", "floats", "number", "nothing"],
)
def test_what_is_no_image_is_the_callers_mistake(image: object) -> None:
    with pytest.raises(TypeError, match=r"uint8 array \(H, W, 3\)"):
        from_image(image)  # type: ignore[arg-type]


def test_limits_hold_for_arrays_and_opened_images() -> None:
    small = face_pixels(0, 8)
    for image in (small, Image.fromarray(small)):
        with pytest.raises(ImageRejected) as caught:
            from_image(image)
        assert caught.value.status is Status.TOO_SMALL
    assert from_image(small, ImageLimits(min_side=8)).shape == (112, 112, 3)


def test_prepare_rejects_all_that_decoding_does() -> None:
    for data, status in hostile_images().values():
        with pytest.raises(ImageRejected) as caught:
            prepare(data)
        assert caught.value.status is status
