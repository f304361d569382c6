"""`review.csv`: what a person decided about images, by the SHA-256 of their stored bytes.

Columns: `sha256` (64 hexadecimal digits), `verdict` (`keep`, `drop` or empty), `label` (the right label; empty: as it
is), `note` (for people). The report's page writes it, and so may any editor or tool; other columns are ignored. A
label that a spreadsheet would take for a formula has an apostrophe before it (`csv_cells`).
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from fiqa_core.curation.csv_cells import restored
from fiqa_core.lines_error import LinesError
from fiqa_core.storage import read_bytes
from fiqa_core.wording import one_line, visible

REVIEW = "review.csv"
VERDICTS = ("keep", "drop", "")
# The decisions' column `reviewed`, by the engine's code.
REVIEWED = (None, "keep", "drop", "label")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_MOST_CELL = 1 << 20


class ReviewError(LinesError):
    """A review that cannot be obeyed as it is; the message says where, what was found and what is expected."""


@dataclass(frozen=True)
class Entry:
    """One line. sha256: 64 lower-case digits. verdict: `keep`, `drop` or "". label: the right label, None for the one
    that it has. note: for people."""

    sha256: str
    verdict: str
    label: str | None
    note: str = ""


@dataclass(frozen=True)
class Review:
    """All lines, each image once; `content` is the file's."""

    entries: tuple[Entry, ...]
    content: bytes = b""

    def digest(self) -> str:
        """SHA-256 of what it decides, hexadecimal: notes and the order of lines do not matter."""
        decided = sorted([e.sha256, e.verdict, e.label] for e in self.entries if e.verdict or e.label is not None)
        return hashlib.sha256(json.dumps(decided).encode()).hexdigest()

    def table(self) -> pa.Table:
        """What it decides: s0-s3 (uint64, the digest as the engine has it), verdict and label (text, null: none)."""
        deciding = [entry for entry in self.entries if entry.verdict or entry.label is not None]
        digests = [bytes.fromhex(entry.sha256) for entry in deciding]
        words = {
            f"s{word}": pa.array([int.from_bytes(d[8 * word : 8 * word + 8], "little") for d in digests], pa.uint64())
            for word in range(4)
        }
        verdicts = pa.array([entry.verdict or None for entry in deciding], pa.string())
        return pa.table(words | {"verdict": verdicts, "label": pa.array([e.label for e in deciding], pa.string())})


def read_review(url: str) -> Review:
    """The review in a file.

    Raises:
        ReviewError: not a review, or two lines that contradict each other. FileNotFoundError: no such file.
    """
    content = read_bytes(url)
    entries: dict[str, tuple[int, Entry]] = {}
    for line, entry in _entries(url, content):
        earlier = entries.get(entry.sha256)
        if earlier is not None and (earlier[1].verdict, earlier[1].label) != (entry.verdict, entry.label):
            raise ReviewError(
                f"{url}, line {line}: decides otherwise than line {earlier[0]} about the image with SHA-256 "
                f"{entry.sha256}. Leave one of the two lines."
            )
        entries.setdefault(entry.sha256, (line, entry))
    return Review(tuple(entry for _, entry in entries.values()), content)


def _entries(url: str, content: bytes) -> Iterator[tuple[int, Entry]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReviewError(f"{url}: not valid UTF-8 at byte {error.start:,}. Save it as UTF-8.") from None
    before = csv.field_size_limit(_MOST_CELL)
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
        missing = [name for name in ("sha256", "verdict") if name not in (rows.fieldnames or ())]
        if missing:
            found = ", ".join(visible(name)[:40] for name in (rows.fieldnames or ())[:8]) or "nothing"
            raise ReviewError(
                f"{url}: no column {missing[0]!r}; its first line has {found}. Expected sha256,verdict,label,note."
            )
        for row in rows:
            yield rows.line_num, _entry(f"{url}, line {rows.line_num}", row)
    except csv.Error as error:
        raise ReviewError(f"{url}: not readable as CSV ({one_line(error, 120)}).") from error
    finally:
        csv.field_size_limit(before)


def _entry(where: str, row: dict[str, str | None]) -> Entry:
    if row.get(""):
        raise ReviewError(f"{where}: more cells than columns. A cell with a comma in it must be in quotes.")
    digest = (row.get("sha256") or "").strip()
    if not _DIGEST.fullmatch(digest):
        raise ReviewError(f"{where}: sha256 is {visible(digest)[:80]!r}, expected 64 hexadecimal digits.")
    verdict = (row.get("verdict") or "").strip().lower()
    if verdict not in VERDICTS:
        raise ReviewError(f"{where}: verdict is {visible(verdict)[:40]!r}, expected keep, drop, or nothing.")
    label = restored(row.get("label") or "")
    return Entry(digest.lower(), verdict, label or None, restored(row.get("note") or ""))
