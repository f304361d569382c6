"""Cells of CSV files that people open in a spreadsheet: no name runs as a formula, and names can be read back.

A text that a spreadsheet would take for a formula gets an apostrophe before it, and so does a text that begins with an
apostrophe. So a reader removes one apostrophe from the beginning of a cell, if there is one.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

# Full-width forms too: some spreadsheets read them as the plain characters.
_RISKY = "^[=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]"
_PLAIN_NUMBER = r"^[+\-]?[0-9]+(\.[0-9]+)?$"
_HARMLESS = re.compile(r"[+\-]?[0-9]+(\.[0-9]+)?", re.ASCII)
# Characters that some CSV readers take for the end of a line, a cell or the file, and spaces that some remove.
_QUOTED = re.compile('[\x00-\x1f\x7f\x85\u2028\u2029",;]|^\\s|\\s$')


def defused(text: str) -> str:
    """A text as it is written into a cell."""
    return f"'{text}" if re.match(_RISKY, text) and not _HARMLESS.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text that was written as this cell."""
    return cell.removeprefix("'")


def defused_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts as cells; nulls stay."""
    risky = pc.and_(
        pc.match_substring_regex(column, _RISKY), pc.invert(pc.match_substring_regex(column, _PLAIN_NUMBER))
    )
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def quoted(cell: str) -> str:
    """A cell as RFC 4180 writes it: in quotes if some reader would misread it."""
    return '"' + cell.replace('"', '""') + '"' if not cell or _QUOTED.search(cell) else cell
