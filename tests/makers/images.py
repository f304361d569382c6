"""Synthetic faces, small enough to make by the hundred and smooth enough to be compressed like photographs."""

import io
from typing import Any

import numpy as np
from PIL import Image


def face_pixels(seed: int, size: int = 112) -> np.ndarray:
    """uint8 (size, size, 3) RGB: smooth noise with a skin-coloured oval, two eyes and a mouth."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (7, 7, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(noise, np.float32)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for centre, radii, colour in (
        ((0.0, 0.0), (0.65, 0.85), rng.uniform((150, 100, 80), (240, 200, 180))),
        ((-0.3, -0.3), (0.12, 0.07), rng.uniform(0, 90, 3)),
        ((0.3, -0.3), (0.12, 0.07), rng.uniform(0, 90, 3)),
        ((0.0, 0.45), (0.28, 0.08), rng.uniform((120, 20, 20), (200, 80, 80))),
    ):
        inside = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1
        pixels = np.where(inside[..., None], 0.25 * pixels + 0.75 * colour, pixels)
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, image_format: str, **options: Any) -> bytes:
    """`pixels` as a file of one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def heic_bytes(pixels: np.ndarray, **options: Any) -> bytes:
    """`pixels` as HEIC by pillow-heif; `options` are those of its writer."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, **options)
    return buffer.getvalue()


def jpeg_bytes(seed: int, size: int = 112, quality: int = 90, **options: Any) -> bytes:
    """A synthetic face as JPEG; `options` are those of Pillow's writer."""
    return encoded(face_pixels(seed, size), "JPEG", quality=quality, **options)


def png_bytes(seed: int, size: int = 112) -> bytes:
    """A synthetic face as PNG."""
    return encoded(face_pixels(seed, size), "PNG")


def webp_bytes(seed: int, size: int = 112, quality: int = 90) -> bytes:
    """A synthetic face as lossy WebP."""
    return encoded(face_pixels(seed, size), "WEBP", quality=quality)
