"""Rows as pictures: small copies of their images, the lines under each, and what a notebook shows."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image

from fiqa_core.images.decode import ImageRejected
from fiqa_core.shards.names import shortened
from fiqa_core.tables.faces import Face, FaceUnavailableError, first_faces, read_faces
from fiqa_core.wording import visible

SIDE = 112
_JPEG_QUALITY = 85
_MOST_CHARACTERS = 120  # of a line

_STYLE = (
    "display:inline-block;width:{width}px;margin:4px;vertical-align:top;font:11px/1.35 system-ui,sans-serif;"
    "overflow-wrap:anywhere"
)
_NO_PICTURE = (
    "display:flex;align-items:center;justify-content:center;height:{side}px;padding:4px;box-sizing:border-box;"
    "border:1px dashed #888;overflow:hidden;text-align:center"
)


def small_picture(face: Face, side: int = SIDE) -> Image.Image:
    """The face as it was scored, RGB, made smaller to fit into a square of `side` pixels; a smaller one keeps its size.

    Raises:
        FaceUnavailableError: the row has no bytes. ImageRejected: they cannot be decoded.
    """
    picture = Image.fromarray(face.scored_pixels())
    picture.thumbnail((side, side), Image.Resampling.BOX if max(picture.size) > 4 * side else Image.Resampling.LANCZOS)
    return picture


def small_jpeg(face: Face, side: int = SIDE, quality: int = _JPEG_QUALITY) -> bytes:
    """The same as JPEG.

    Raises:
        FaceUnavailableError, ImageRejected: as `small_picture`.
    """
    stream = io.BytesIO()
    small_picture(face, side).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def caption(row: Mapping[str, Any]) -> list[str]:
    """What stands under a face, a line each: quality, why it is not kept or not scored, label, key.

    Names come from untrusted files: control characters are escaped, long ones shortened. They are plain text, which
    HTML has yet to escape.
    """
    quality, status, reason = (row.get(name) for name in ("quality", "status", "reason"))
    lines = []
    if isinstance(quality, int | float):
        lines.append(f"{quality:.3f}")
    elif status not in (None, "scored"):
        lines.append(str(status))
    if reason:
        lines.append(str(reason))
    lines += [str(row[name]) for name in ("label", "key") if row.get(name) not in (None, "")]
    return [visible(shortened(line, _MOST_CHARACTERS)) for line in lines]


def faces_of(rows: Any, tables: Any = (), most: int = 60, moved: Sequence[tuple[str, str]] = ()) -> "FaceView":
    """Rows that a notebook shows as faces (at most `most`), each with its quality, label and key.

    Args:
        rows, tables, moved: as in `read_faces`. A frame of `load_quality` knows its table, so `tables` may be left out.
    """
    return FaceView(rows, tables or getattr(rows, "attrs", {}).get("table", ()), most, moved)


class FaceView:
    """Faces of rows as a notebook shows them: small pictures that are part of the page, with quality, label and key."""

    def __init__(self, rows: Any, tables: Any, most: int = 60, moved: Sequence[tuple[str, str]] = ()) -> None:
        if most < 1:
            raise ValueError(f"most={most}: expected a whole number of at least 1")
        self._rows, self._tables, self._most, self._moved = rows, tables, most, moved

    @cached_property
    def faces(self) -> list[Face]:
        """The first faces, at most as many as are shown."""
        return first_faces(read_faces(self._rows, self._tables, self._moved), self._most)

    def __repr__(self) -> str:
        """As text, where no pictures can be shown."""
        return f"<{len(self.faces)} faces; a notebook shows them>"

    def _repr_html_(self) -> str:
        """The faces as HTML without scripts, links or requests."""
        more = len(self._rows) - len(self.faces) if hasattr(self._rows, "__len__") else 0
        note = f"<p>and {more:,} more rows</p>" if more > 0 else ""
        return f"<div>{''.join(map(_figure, self.faces))}</div>{note}"


def _figure(face: Face) -> str:
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in caption(face.row))
    try:
        data = base64.b64encode(small_jpeg(face)).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}" style="max-width:100%">'
    except (FaceUnavailableError, ImageRejected) as error:
        text = html.escape(visible(shortened(str(error), 2 * _MOST_CHARACTERS)))
        picture = f'<div style="{_NO_PICTURE.format(side=SIDE)}">{text}</div>'
    return f'<div style="{_STYLE.format(width=SIDE)}">{picture}{lines}</div>'
