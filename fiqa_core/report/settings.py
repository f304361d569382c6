"""What a report shows, and where that comes from."""

from dataclasses import dataclass

from fiqa_core.curation.decisions.database import MEMORY_BYTES
from fiqa_core.lines_error import LinesError

# One file that opens at once on a laptop. Faces take most of it; the rest has its own limits below.
MOST_BYTES = 15_000_000
MOST_FACE_BYTES = 10_000_000
MOST_IDENTITIES = 30_000
MOST_LABEL = 200  # characters of a name that are shown


class ReportError(LinesError):
    """A report cannot be made as asked; the message says what was found and what to do."""


@dataclass(frozen=True)
class ReportSettings:
    """What a report is made of.

    Attributes:
        quality: files of the quality table. decisions: output folder of filter_dataset, "" for none.
        edc: output folder of evaluate_quality, "" for none. group_by: columns of the quality table or the decisions.
        faces: shown for each reason; a tenth of all faces in order of quality is shown by a third as many.
        moved: how the URLs of the shards began, and how they begin now.
        command: the command line that makes the report, shown in it. title: of the page.
        memory_bytes: of DuckDB (the process needs about 0.5 GB more). threads: 0 = one for each core.
        further: what clean_dataset found that further rules would take, "" for none.
    """

    quality: tuple[str, ...]
    decisions: str = ""
    edc: str = ""
    group_by: tuple[str, ...] = ()
    faces: int = 48
    moved: tuple[tuple[str, str], ...] = ()
    command: str = ""
    title: str = "Face image quality"
    memory_bytes: int = MEMORY_BYTES
    threads: int = 0
    further: str = ""
