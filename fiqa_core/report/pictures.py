"""Small pictures of chosen rows: of the stored image; where that cannot be had, the grey thumbnail in the table."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
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
) -> Iterator[tuple[int, Picture]]:
    """Pictures by rid in this order, read as they are asked for.

    A rid below 0 is a row of another dataset (`elsewhere`), whose shard is looked for at its address.
    """
    own = read_faces((rows[rid] for rid in order if rid >= 0), tables, moved)
    others = read_faces((rows[rid] for rid in order if rid < 0), (), moved)
    for rid in order:
        face = next(own if rid >= 0 else others)
        yield rid, _picture(face, rows[rid].get("thumb"))


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
