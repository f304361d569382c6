"""Cells of CSV files that people open in a spreadsheet: what strangers named runs as no formula, and can be read back.

A text that a spreadsheet would take for a formula, and one that begins with an apostrophe, gets an apostrophe before
it. So the text of any cell is what follows its first apostrophe, if it begins with one.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

# The full-width forms too: some spreadsheets take them for the plain ones.
_RISKY = "^[=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]"
_PLAIN_NUMBER = r"^[+\-]?[0-9]+(\.[0-9]+)?$"
_HARMLESS = re.compile(r"[+\-]?[0-9]+(\.[0-9]+)?", re.ASCII)
# What some reader of CSV takes for the end of a line, a cell or the file, and spaces that some cut off.
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
    """A cell as RFC 4180 writes it: in quotes where some reader would take a part of it for something else."""
    return '"' + cell.replace('"', '""') + '"' if not cell or _QUOTED.search(cell) else cell
