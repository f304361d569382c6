"""Aligned faces as files: the crop's bytes, and what is known of it beside them."""

import json
from typing import Any, NamedTuple

import cv2
import numpy as np

from fiqa_core.alignment.aligner import AlignedFace
from fiqa_core.alignment.settings import CropSettings

_DIGITS = 3


class Crop(NamedTuple):
    """One aligned face of a picture.

    Attributes:
        suffix: what its key has behind the picture's: "" for the only one, `_1`, `_2` ... where every face is written.
        data: PNG or JPEG of 112x112 pixels; the stored bytes of a picture that is an aligned crop already.
        about: a JSON object: where the face was found.
    """

    suffix: str
    data: bytes
    about: bytes


def make_crops(faces: list[AlignedFace], stored: bytes, settings: CropSettings, numbered: bool) -> list[Crop]:
    """The files of a picture's faces. `numbered`: there may be several a picture, so their keys are numbered from 1."""
    return [
        Crop(
            f"_{number}" if numbered else "",
            stored if face.pixels is None else encode(face.pixels, settings),
            json.dumps(_about(face)).encode(),
        )
        for number, face in enumerate(faces, 1)
    ]


def encode(pixels: np.ndarray, settings: CropSettings) -> bytes:
    """uint8 RGB (112, 112, 3) as a file; PNG loses nothing."""
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality] if settings.image_format == "jpeg" else []
    suffix = ".jpg" if settings.image_format == "jpeg" else ".png"
    return bytes(cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1])


def _about(found: AlignedFace) -> dict[str, Any]:
    return {
        "face_box": _rounded(found.face.box),
        "landmarks": _rounded(found.face.landmarks),
        "face_score": round(found.face.score, _DIGITS),
        "eye_distance": round(found.face.eye_distance, _DIGITS),
        "pose": {name: round(angle, _DIGITS) for name, angle in found.pose._asdict().items()},
        "faces": found.found,
        "warped": found.warped,
    }


def _rounded(values: np.ndarray) -> Any:
    return np.round(values, _DIGITS).tolist()
