"""Findings of an earlier search: whether they are complete."""

from collections.abc import Sequence

from fiqa_core.curation.findings.search_result import DONE, WORK, read_done
from fiqa_core.runs.own_files import holds_run
from fiqa_core.storage import above, is_folder, join
from fiqa_core.tables.quality_files import TableError


def refuse_unfinished(folder: str, names: Sequence[str]) -> None:
    """Refuse findings of a search that did not finish, or that lack a file.

    Args:
        folder: their folder. names: of the files in it.

    Raises:
        TableError: it names what is missing.
    """
    if DONE not in names:
        output = above(folder)
        if output is not None and (is_folder(join(output, WORK)) or holds_run(output)):
            raise TableError(f"{folder}: the search did not finish (there is no {DONE}). Finish it with --resume.")
        return  # findings that another tool made
    there = read_done(join(folder, DONE))
    wanted = [url.rpartition("/")[2] for url in (*there.labels, *there.pairs)]
    gone = [name for name in wanted if name not in names]
    if gone:
        raise TableError(f"{folder}: {gone[0]} is missing, although its search wrote it. Make the findings again.")
