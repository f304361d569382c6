"""The account of clean_dataset before images are written: what is kept, and what further rules would take."""

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.apply_policy import Resources, Tables
from fiqa_core.curation.decisions.database import Findings
from fiqa_core.curation.findings.search import Search, search_digest
from fiqa_core.curation.findings.search_result import DONE, FOLDER, SearchResult, read_done
from fiqa_core.curation.findings.settings import FindingsSettings
from fiqa_core.curation.recipe.clean_run import DECIDED, FURTHER
from fiqa_core.curation.recipe.further_rules import FurtherRule, Kept, Taken, further_rules, look_further
from fiqa_core.curation.recipe.sections import Recipe
from fiqa_core.runs.layout import sealed, unsealed
from fiqa_core.tables.embedding_files import EmbeddingSource
from pipelines.jobs import findings_job
from pipelines.jobs.filter_tables import read_embedding_source, read_tables
from pipelines.runners.beam_options import beam_options
from schemas.versions import PACKAGE_VERSION

_log = logging.getLogger("clean_dataset")


@dataclass(frozen=True)
class Looked:
    """What is known beside the decisions: the tables, what is kept, what further rules would take, and a digest of all
    that decides it. is_new: this run found it out."""

    tables: Tables
    kept: Kept
    taken: tuple[Taken, ...]
    digest: str
    is_new: bool


def look(recipe: Recipe, arguments: argparse.Namespace, decisions: str, output: str) -> Looked:
    """Find out what further rules would take; what an earlier run found for the same decisions is used again.

    Args:
        arguments: those of the stage that decided. decisions: digest of that run.
    """
    source, tables = read_embedding_source(arguments, read_tables(arguments))
    found = _found(output)
    search = _near_search(recipe, tables, source, output)
    looked_for = [search_digest(search) if search is not None else "", recipe.decide.further, PACKAGE_VERSION]
    digest = hashlib.sha256(json.dumps([decisions, looked_for]).encode()).hexdigest()
    place = storage.join(output, FURTHER)
    earlier = unsealed(place) if storage.stat(place) is not None else None
    if earlier is not None and earlier.get("of") == digest:
        taken = tuple(Taken.of_dict(values) for values in earlier["rules"])
        return Looked(tables, Kept(**earlier["kept"]), taken, digest, False)
    pairs = found.pairs if found is not None else ()
    near_by = recipe.policy.near.by if pairs else None
    if search is not None and search.settings.near is not None:
        _log.info("looking for near duplicates, for the account only")
        options = beam_options([], workers=recipe.run.workers)
        pairs = findings_job.find(search.parts, search.own, search.source, search.settings, output, options).pairs
        near_by = search.settings.near.by
    judged = bool(found is not None and found.labels)
    tables = replace(tables, findings=Findings(found.labels if found is not None else (), pairs))

    def rules(labelled: bool) -> Sequence[FurtherRule]:
        if not recipe.decide.further:
            return ()
        columns = set.intersection(*(set(part.columns) for part in tables.own))
        return tuple(further_rules(recipe.policy, sorted(columns), judged, near_by, labelled))

    with storage.temporary_folder_for(output) as folder:
        kept, taken_now = look_further(recipe.policy, tables, rules, Resources(folder))
    content = {"of": digest, "kept": asdict(kept), "rules": [taken.to_dict() for taken in taken_now]}
    storage.publish_bytes(sealed(content), output, place)
    return Looked(tables, kept, tuple(taken_now), digest, True)


def _found(output: str) -> SearchResult | None:
    """What the stage that decided found in the embeddings."""
    place = storage.join(output, DECIDED, FOLDER, DONE)
    return read_done(place) if storage.stat(place) is not None else None


def _near_search(recipe: Recipe, tables: Tables, source: EmbeddingSource | None, output: str) -> Search | None:
    """The search for near duplicates that only the account needs; None where the policy has its own, or the tables
    allow none."""
    if not recipe.decide.further or recipe.policy.needs_pairs():
        return None
    near = recipe.policy.near.search
    if source is None or near.by == "phash":
        if not all("phash" in part.columns for part in tables.own):
            return None
        near, source = replace(near, by="phash"), None
    return Search(tables.own, tables.own_rows, source, FindingsSettings(None, near), output)


def counts_of(looked: Looked) -> dict[str, Any]:
    """For `summary.json`: what is kept, and what each further rule would take."""
    return {
        "kept": asdict(looked.kept),
        "further": [{k: v for k, v in taken.to_dict().items() if k != "rows"} for taken in looked.taken],
    }
