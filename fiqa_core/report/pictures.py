"""Small pictures of chosen rows: of the stored image; where that cannot be had, the grey thumbnail in the table."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fiqa_core.errors import FiqaError
from fiqa_core.images.decode import ImageRejected
from fiqa_core.images.thumbnail import SIDE as THUMBNAIL_SIDE
from fiqa_core.images.thumbnail import THUMBNAIL_BYTES
from fiqa_core.tables.face_view import small_jpeg
from fiqa_core.tables.faces import Face, read_faces
from fiqa_core.wording import one_line

SIDE = 96
_JPEG_QUALITY = 78
_MOST_NOTE = 160


@dataclass(frozen=True)
class Picture:
    """data: base64 of an image file of type `kind` (`jpeg`, `png`), "" where there is none. note: why, or what it is
    instead; "" for the stored image."""

    data: str = ""
    kind: str = "jpeg"
    note: str = ""


def pictures(
    rows: Mapping[int, Mapping[str, Any]],
    order: Sequence[int],
    tables: Sequence[str],
    moved: Sequence[tuple[str, str]],
    most_bytes: int,
) -> dict[int, Picture]:
    """Pictures by rid, the first in `order` first, as long as all together take no more than so many bytes of text."""
    wanted = [rid for rid in dict.fromkeys(order) if rid in rows]
    found: dict[int, Picture] = {}
    used = 0
    faces = read_faces([rows[rid] for rid in wanted], tables, moved)
    for rid, face in zip(wanted, faces, strict=True):
        picture = _picture(face, rows[rid].get("thumb"))
        used += len(picture.data)
        if used > most_bytes:
            picture = Picture(note="left out: the report has its largest size")
        found[rid] = picture
    return found


def _picture(face: Face, thumb: bytes | None) -> Picture:
    try:
        return Picture(base64.b64encode(small_jpeg(face, SIDE, _JPEG_QUALITY)).decode())
    except (FiqaError, ImageRejected, OSError) as error:
        note = one_line(error, _MOST_NOTE)
    if thumb is None or len(thumb) != THUMBNAIL_BYTES:
        return Picture(note=note)
    grey = np.frombuffer(thumb, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    stream = io.BytesIO()
    Image.fromarray(grey, "L").save(stream, "PNG")
    return Picture(base64.b64encode(stream.getvalue()).decode(), "png", f"thumbnail of the table: {note}")
