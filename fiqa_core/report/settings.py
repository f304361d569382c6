"""What a report shows, and where that comes from."""

from dataclasses import dataclass

from fiqa_core.curation.decisions.database import MEMORY_BYTES
from fiqa_core.lines_error import LinesError

# One file that opens at once on a laptop. Faces (pictures, names and what is said of them) take most of it; the rest
# has its own limits below.
MOST_BYTES = 15_000_000
MOST_FACE_BYTES = 11_000_000
MOST_IDENTITIES = 30_000
MOST_LABEL = 200  # characters of a name that are shown


class ReportError(LinesError):
    """A report cannot be made as asked; the message says what was found and what to do."""


@dataclass(frozen=True)
class ReportSettings:
    """What a report is made of.

    Attributes:
        quality: files of the quality table. decisions: output folder of filter_dataset, "" for none.
        edc: output folder of evaluate_quality, "" for none. group_by: columns of the quality table or the decisions, or
            files with a key and a group a row. group_key, group_column: columns of such a file, "" to find the key.
        findings: folder of findings that the decisions did not write themselves, "" for none.
        calibration: file (or name) of a calibration, "" for what the tables say themselves. scale: the column that
            orders rows: `quality`, or `percentile` where the tables are of several networks.
        faces: of each reason at most; the file holds as many as fit.
        moved: how the URLs of the shards began, and how they begin now.
        command: the command line that makes the report, shown in it. title: of the page.
        memory_bytes: of DuckDB (the process needs about 0.5 GB more). threads: 0 = one for each core.
        further: what clean_dataset found that further rules would take, "" for none.
    """

    quality: tuple[str, ...]
    decisions: str = ""
    edc: str = ""
    group_by: tuple[str, ...] = ()
    faces: int = 300
    moved: tuple[tuple[str, str], ...] = ()
    command: str = ""
    title: str = "Face image quality"
    memory_bytes: int = MEMORY_BYTES
    threads: int = 0
    further: str = ""
    group_key: str = ""
    group_column: str = "group"
    findings: str = ""
    calibration: str = ""
    scale: str = "quality"
