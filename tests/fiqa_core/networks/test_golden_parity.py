"""The networks give what the original networks gave, on the same weights and the same ten images."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from .conftest import GOLDEN, Golden

PARITY = 1e-4
ROUNDING = 2e-6


def images(names: list[str], channels: str) -> Tensor:
    """Decoded by OpenCV as the original does: BGR, swapped to RGB or fed as it is."""
    batch = []
    for name in names:
        pixels = cv2.imread(str(GOLDEN / "images" / name), cv2.IMREAD_COLOR)
        assert pixels is not None
        if pixels.shape[:2] != (112, 112):
            pixels = cv2.resize(pixels, (112, 112), interpolation=cv2.INTER_LINEAR)
        batch.append(pixels[:, :, ::-1] if channels == "rgb" else pixels)
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2)))
    return (stacked.float() / 255 - 0.5) / 0.5


def off_by(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest error, relative to the spread of the expected values."""
    return float(np.abs(found - expected).max() / np.ptp(expected))


def assert_same(found: Tensor, expected: NDArray[np.float32], tolerance: float) -> None:
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert off_by(found.numpy(), expected) <= tolerance


def test_architecture_and_mode_are_recognised(golden: Golden) -> None:
    arch, _, mode = golden.name.partition("-")
    assert (golden.loaded.arch, golden.loaded.mode) == (arch, mode or "crfiqa")
    assert golden.loaded.embedding_dim == golden.embedding.shape[1]
    assert golden.loaded.has_quality


def test_rgb_quality_and_embedding_are_the_originals(golden: Golden) -> None:
    names = sorted(golden.quality_rgb)
    with torch.inference_mode():
        embedding, quality = golden.loaded.network(images(names, "rgb"))
    assert_same(quality, np.float32([[golden.quality_rgb[name]] for name in names]), PARITY)
    assert_same(embedding, golden.embedding, PARITY)


def test_bgr_fed_unswapped_gives_the_originals_other_scores(golden: Golden) -> None:
    names = sorted(golden.quality_bgr_unswapped)
    with torch.inference_mode():
        quality = golden.loaded.network.quality(images(names, "bgr"))
    assert_same(quality, np.float32([golden.quality_bgr_unswapped[name] for name in names]), PARITY)


def test_score_only_shortcuts_change_nothing(golden: Golden) -> None:
    faces = images(sorted(golden.quality_rgb), "rgb")
    with torch.inference_mode():
        full = golden.loaded.network(faces)[1].squeeze(1)
        alone = golden.loaded.network.quality(faces)
    assert_same(alone, full.numpy(), ROUNDING)


def test_a_score_does_not_depend_on_its_batch(golden_vit_t: Golden) -> None:
    faces = images(sorted(golden_vit_t.quality_rgb), "rgb")
    with torch.inference_mode():
        together = golden_vit_t.loaded.network.quality(faces)
        singly = torch.cat([golden_vit_t.loaded.network.quality(face[None]) for face in faces])
    assert_same(singly, together.numpy(), ROUNDING)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_autocast_returns_float32_scores_near_the_originals(
    golden_vit_t: Golden, dtype: torch.dtype, tolerance: float
) -> None:
    names = sorted(golden_vit_t.quality_rgb)
    faces = images(names, "rgb")
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype):
        embedding, _ = golden_vit_t.loaded.network(faces)
        quality = golden_vit_t.loaded.network.quality(faces)
    assert embedding.dtype == torch.float32
    assert_same(quality, np.float32([golden_vit_t.quality_rgb[name] for name in names]), tolerance)
