"""What a search writes: files of findings, and `findings.json`, which names them."""

import json
import re
from dataclasses import asdict, dataclass

from fiqa_core.curation.findings.label_noise.thresholds import Thresholds
from fiqa_core.curation.findings.tasks import Counts
from fiqa_core.runs.layout import read_own_json
from fiqa_core.storage import is_folder, join, list_names, publish_bytes, remove
from fiqa_core.tables.quality_files import TableError

FOLDER, WORK, DONE = "findings", "_findings", "findings.json"
_FOUND = re.compile(r"(labels|pairs|pairs-phash)-\d{6,}-[0-9a-f]{12}\.parquet")
_SEARCH = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class SearchResult:
    """Result of a search: URLs of Parquet files (schemas/findings.py, schemas/identities.py).

    labels: empty, and identities "", if label noise was not searched for. counts: what was read, joined and found.
    thresholds: the cosines that were applied, None without label noise.
    """

    labels: tuple[str, ...]
    pairs: tuple[str, ...]
    identities: str
    counts: Counts
    thresholds: Thresholds | None


def publish_result(result: SearchResult, output: str, digest: str) -> None:
    """Write `findings.json`, which says that the search with this digest is finished."""
    text = json.dumps(_named(result) | {"digest": digest}, indent=1)
    publish_bytes(text.encode(), output, join(output, FOLDER, DONE))


def read_done(url: str) -> SearchResult:
    """The result of an earlier search, from its `findings.json`.

    Raises:
        TableError: the file is not one that a search wrote.
    """
    folder = url.rpartition("/")[0]
    try:
        values = read_own_json(url)
        return SearchResult(
            tuple(join(folder, name) for name in values["labels"]),
            tuple(join(folder, name) for name in values["pairs"]),
            join(folder, values["identities"]) if values["identities"] else "",
            dict(values["counts"]),
            Thresholds(**values["thresholds"]) if values["thresholds"] is not None else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{url}: not readable as findings ({error}). Remove it to make them again.") from error


def remove_other_searches(output: str, digest: str) -> None:
    """Remove what searches with another digest left in the output."""
    folder, work = join(output, FOLDER), join(output, WORK)
    if is_folder(work):
        for name in list_names(work):
            if name != digest and _SEARCH.fullmatch(name):
                remove(join(work, name))
    if not is_folder(folder):
        return
    names = list_names(folder)
    done = join(folder, DONE)
    if DONE not in names or _digest_of(done) != digest:
        remove(done)
        remove(join(folder, "identities.parquet"))
    for name in names:
        if _FOUND.fullmatch(name) and not name.endswith(f"-{digest}.parquet"):
            remove(join(folder, name))


def _digest_of(done: str) -> object:
    """The digest of the search that made the findings; None if they cannot be read."""
    try:
        return read_own_json(done).get("digest")
    except ValueError:
        return None


def _named(result: SearchResult) -> dict[str, object]:
    """The result for JSON: files by name, so that the output may be moved."""
    values = asdict(result)
    for name in ("labels", "pairs"):
        values[name] = [url.rpartition("/")[2] for url in values[name]]
    values["identities"] = result.identities.rpartition("/")[2]
    return values
