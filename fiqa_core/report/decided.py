"""The decisions that belong to a quality table: one file for each of its files, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.curation.decisions.decision_files import DECISIONS, file_name
from fiqa_core.curation.findings.search_result import FOLDER as FINDINGS
from fiqa_core.report.settings import ReportError
from fiqa_core.runs.layout import SUMMARY, parse_filter_run, read_run_file, unsealed
from fiqa_core.tables.footers import footer_digest
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import one_line

IDENTITIES = "identities.parquet"
_PAIRS = "pairs-"


@dataclass(frozen=True)
class Decided:
    """What a filter run left beside a quality table.

    Attributes:
        folder: of the run. urls: the decisions file of each quality file, in their order. columns: of these files.
        run, summary: what `run.json` and `summary.json` say. identities: URL of the identities' findings, "" if none.
        pairs: URLs of the findings about near duplicates.
    """

    folder: str
    urls: tuple[str, ...]
    columns: tuple[str, ...]
    run: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    identities: str = ""
    pairs: tuple[str, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether labels were compared with embeddings."""
        verdicts = self.summary.get("before", {}).get("label_verdicts", {})
        return any(name != "not_judged" for name, rows in verdicts.items() if rows)

    @property
    def other_rows(self) -> int:
        """Rows of the datasets that were given as --against, which the findings number after the own ones."""
        return sum(int(file[1]) for file in self.run.get("against", []))


def read_decided(folder: str, parts: Sequence[TableFile], findings: str = "") -> Decided:
    """The decisions of a filter run over exactly these files.

    Args:
        findings: folder of findings that the run used and did not write itself, "" for none.

    Raises:
        ReportError: no finished filter run, or one over other tables.
    """
    try:
        run = read_run_file(folder, parse_filter_run)
    except (FileNotFoundError, ValueError) as error:
        raise ReportError(
            f"{folder}: not the output of fiqa filter ({one_line(error, 200)}). Give the folder that it wrote."
        ) from error
    summary = unsealed(storage.join(folder, SUMMARY))
    if summary is None:
        raise ReportError(f"{folder}: the filter run is not finished. Finish it with --resume, then make the report.")
    then = [(str(file[1]), str(file[2])) for file in run["quality"]]
    now = [(str(part.rows), footer_digest(part.url)) for part in parts]
    if then != now:
        raise ReportError(
            f"{folder}: was made from {len(then)} quality files, and --quality has {len(now)}, which are not the same. "
            "Give the tables that fiqa filter had, in the same order."
        )
    urls = tuple(storage.join(folder, DECISIONS, file_name(part)) for part in parts)
    columns: tuple[str, ...] = ()
    for url, part in zip(urls, parts, strict=True):
        try:
            with storage.open_read(url) as stream:
                file = pq.ParquetFile(stream)
                rows, columns = file.metadata.num_rows, tuple(file.schema_arrow.names)
        except (FileNotFoundError, pa.ArrowException) as error:
            raise ReportError(f"{url}: not readable ({one_line(error, 200)}). Run fiqa filter again.") from error
        if rows != part.rows:
            raise ReportError(f"{url}: {rows:,} rows, expected {part.rows:,}. Run fiqa filter again.")
    place = findings or storage.join(folder, FINDINGS)
    names = storage.list_names(place) if findings or FINDINGS in storage.list_names(folder) else []
    pairs = tuple(storage.join(place, name) for name in names if name.startswith(_PAIRS) and name.endswith(".parquet"))
    if findings and not pairs and IDENTITIES not in names:
        raise ReportError(
            f"--findings {findings}: holds no findings. Expected pairs-*.parquet or {IDENTITIES}, as in the folder "
            "`findings` of a filter run."
        )
    listed = storage.join(place, IDENTITIES) if IDENTITIES in names else ""
    return Decided(folder, urls, columns, run, summary, listed, pairs)
