"""A contact sheet: many faces in one picture, with quality, reason, label and key under each."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fiqa_core.errors import FiqaError
from fiqa_core.images.decode import ImageRejected
from fiqa_core.tables.face_view import caption, small_picture
from fiqa_core.tables.faces import Face, FaceUnavailableError
from fiqa_core.wording import visible

SIDE = 112
_GAP, _TEXT, _LINE, _LINES = 8, 11, 14, 4
_MOST_PIXELS = 100_000_000
_PAPER, _INK, _PALE, _FRAME = (255, 255, 255), (20, 20, 20), (110, 110, 110), (190, 190, 190)
# Tried in turn for each line: the first that has all of its characters. Pillow looks for them where the system has its
# fonts. The last resort is Pillow's own, which has Latin letters only.
_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "PingFang.ttc", "msgothic.ttc"),
)
_NO_CHARACTER = "\U0010ffff"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class SheetError(FiqaError, ValueError):
    """A contact sheet cannot be made as asked; the message says why and what to do."""


def contact_sheet(faces: Iterable[Face], count: int, columns: int = 0, side: int = SIDE) -> Image.Image:
    """A picture (RGB, white ground) with one cell for each face, row by row; only one face is held at a time.

    Args:
        count: how many faces come. columns: cells in a row; 0: about as wide as high. side: of a face, in pixels; a
            smaller image keeps its size.

    A face without an image has the reason in its place.

    Raises:
        SheetError: the sheet would be larger than 100 million pixels.
    """
    width, height = side + _GAP, side + _LINES * _LINE + _GAP
    columns = min(columns or _balanced(count, width, height), max(1, count))
    rows = -(-count // columns)
    size = (columns * width + _GAP, rows * height + _GAP)
    if size[0] * size[1] > _MOST_PIXELS:
        raise SheetError(
            f"a sheet of {count:,} faces would have {size[0]:,} x {size[1]:,} pixels, more than {_MOST_PIXELS:,}: show "
            "fewer faces, or smaller ones"
        )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, face in enumerate(faces):
        left, top = _GAP + place % columns * width, _GAP + place // columns * height
        _place(sheet, draw, face, left, top, side)
    return sheet


def _balanced(count: int, width: int, height: int) -> int:
    return max(1, round(math.sqrt(count * height / width)))


def _place(sheet: Image.Image, draw: ImageDraw.ImageDraw, face: Face, left: int, top: int, side: int) -> None:
    try:
        picture = small_picture(face, side)
        sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
    except (FaceUnavailableError, ImageRejected) as error:
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=_FRAME)
        for number, line in enumerate(_wrapped(visible(str(error)), side - 8, (side - 8) // _LINE)):
            draw.text((left + 4, top + 4 + number * _LINE), line, _PALE, font=_font_of(line))
    for number, line in enumerate(caption(face.row)[:_LINES]):
        shown = _fitting(line, side)
        draw.text((left, top + side + 2 + number * _LINE), shown, _INK if not number else _PALE, font=_font_of(shown))


def _fitting(line: str, width: int) -> str:
    """The line, without its middle where it is too long; characters that no font has are escaped."""
    line = _drawable(line)
    if _width(line) <= width:
        return line
    kept = len(line) - 1
    while kept > 1 and _width(_without_middle(line, kept)) > width:
        kept -= 1
    return _without_middle(line, kept)


def _without_middle(line: str, kept: int) -> str:
    return f"{line[: (kept + 1) // 2]}…{line[len(line) - kept // 2 :]}"


def _wrapped(text: str, width: int, lines: int) -> Iterator[str]:
    """The first lines of a text, broken where they are full."""
    text = _drawable(text)
    for _ in range(lines):
        end = len(text)
        while end > 1 and _width(text[:end]) > width:
            end -= max(1, end // 10)
        if not text:
            return
        yield text[:end]
        text = text[end:]


def _width(line: str) -> float:
    return _font_of(line).getlength(line)


def _drawable(line: str) -> str:
    if line.isascii():
        return line
    return "".join(each if any(_has(font, each) for font in _fonts()) else _escaped(each) for each in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _font_of(line: str) -> _Font:
    fonts = _fonts()
    if line.isascii():
        return fonts[0]
    return max(fonts, key=lambda font: sum(_has(font, each) for each in line))


@lru_cache(maxsize=1)
def _fonts() -> tuple[_Font, ...]:
    found: list[_Font] = []
    for name in (*_FONTS, *_of_matplotlib()):
        try:
            found.append(ImageFont.truetype(name, _TEXT))
        except (OSError, ImportError):
            continue
    return (*found, ImageFont.load_default(_TEXT))


def _of_matplotlib() -> list[str]:
    """The font that comes with matplotlib, if that is installed."""
    from importlib.util import find_spec

    spec = find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        return []
    return [str(Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")]


@lru_cache(maxsize=10_000)
def _has(font: _Font, character: str) -> bool:
    """Whether a font has a glyph of its own for a character."""
    return character.isspace() or bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))
