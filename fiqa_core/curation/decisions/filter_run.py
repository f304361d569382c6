"""The output folder of a filter run: begin, resume, overwrite. Only what such a run writes is ever removed."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.database import Findings
from fiqa_core.curation.decisions.decision_files import DECISIONS, MANIFEST, REMOVED, is_of_run
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.decisions.review import REVIEW, Review
from fiqa_core.curation.dropped import own_files as dropped_files
from fiqa_core.curation.dropped.settings import DROPPED, DROPPED_INDEX
from fiqa_core.curation.findings.search_result import FOLDER as FINDINGS
from fiqa_core.curation.findings.search_result import WORK as FINDINGS_WORK
from fiqa_core.curation.subset import own_files as subset_files
from fiqa_core.curation.subset.settings import SUBSET
from fiqa_core.runs.differences import SHOWN, changed, refuse_differences
from fiqa_core.runs.folder import OutputError, RunKind, clear, earlier_run, prepare, refuse_foreign
from fiqa_core.runs.layout import (
    FILTER_KIND,
    LOCK,
    PROGRESS,
    PROGRESS_NOTE,
    RUN,
    SUMMARY,
    TEMPORARIES,
    parse_filter_run,
    sealed,
    unsealed,
)
from fiqa_core.tables.footers import footer_digest
from fiqa_core.tables.quality_files import TableFile, label_digests
from schemas import versions

POLICY = "policy.yaml"

_FOOTERS_AT_ONCE = 16


def _nothing_finished(output: str) -> bool:
    return not {SUMMARY, DECISIONS, FINDINGS, FINDINGS_WORK} & set(storage.list_names(output))


FILTER_RUN = RunKind(
    "a filter run",
    "files",
    RUN,
    parse_filter_run,
    before=frozenset({LOCK, TEMPORARIES}),
    own=frozenset(
        {
            *(RUN, SUMMARY, LOCK, TEMPORARIES, PROGRESS, DECISIONS, MANIFEST),
            *(REMOVED, POLICY, REVIEW, FINDINGS, FINDINGS_WORK, SUBSET, DROPPED, DROPPED_INDEX),
        }
    ),
    below={
        DECISIONS: re.compile(r"part-\d{6,}\.parquet"),
        MANIFEST: re.compile(r"part-\d{6,}\.parquet"),
        TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
        PROGRESS: PROGRESS_NOTE,
        FINDINGS: re.compile(
            r"(labels|pairs|pairs-phash)-\d{6,}-[0-9a-f]{12}\.parquet|identities\.parquet|findings\.json"
        ),
        FINDINGS_WORK: re.compile(r"[0-9a-f]{12}"),
        SUBSET: re.compile(r"data|index|_work|_tmp|labels\.csv|plan\.json|summary\.json"),
        DROPPED_INDEX: dropped_files.INDEX_FILES,
    },
    swept=(TEMPORARIES, PROGRESS, FINDINGS_WORK),
    cleared=(
        *(SUMMARY, REMOVED, MANIFEST, SUBSET, DROPPED, DROPPED_INDEX),
        *(DECISIONS, FINDINGS, FINDINGS_WORK, POLICY, REVIEW),
    ),
    nothing_finished=_nothing_finished,
)


_KEEPING_FINDINGS = replace(
    FILTER_RUN, cleared=tuple(name for name in FILTER_RUN.cleared if name not in (FINDINGS, FINDINGS_WORK))
)


@dataclass(frozen=True)
class Writing:
    """What is written of the kept rows: `manifest`, a format of `subset.FORMATS`, or `none`; rows or images a file."""

    what: str
    shard_size: int
    relabel: bool = False
    recordio_layout: str = ""


@dataclass(frozen=True)
class FilterRun:
    """All that decides what a filter run writes.

    Attributes:
        policy: as applied. quality, against: name, rows and digest of each table file, in order.
        findings: name and digest of each that was given. search: digest of the search that makes them, "" without one.
        write: what is written of the kept rows. shard_size: rows a file of it. relabel: labels become numbers.
        recordio_layout: what was asked for, "" for nothing. labels: digests of the files of labels that were given.
        review: digest of what a person decided, "" without a review. groups: the column of groups, and the digest of
            the file with it, if they were asked for.
    """

    policy: Policy
    quality: tuple[tuple[str, int, str], ...]
    against: tuple[tuple[str, int, str], ...]
    findings: tuple[tuple[str, str], ...]
    search: str
    write: str
    shard_size: int
    relabel: bool = False
    recordio_layout: str = ""
    labels: tuple[str, ...] = ()
    review: str = ""
    groups: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 of what decides each row, hexadecimal (not of how kept rows are written)."""
        deciding = [versions.DECISIONS_VERSION, self.policy.to_dict(), self.quality, self.against, self.findings]
        deciding += [self.search] if self.search else []
        deciding += [["labels", *self.labels]] if self.labels else []
        deciding += [["review", self.review]] if self.review else []
        deciding += [["groups", *self.groups]] if self.groups else []
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """What `run.json` says."""
        asked: dict[str, Any] = {"recordio_layout": self.recordio_layout} if self.recordio_layout else {}
        asked |= {"labels": list(self.labels)} if self.labels else {}
        asked |= {"review": self.review} if self.review else {}
        asked |= {"groups": list(self.groups)} if self.groups else {}
        return asked | {
            "kind": FILTER_KIND,
            "decisions_version": versions.DECISIONS_VERSION,
            "package_version": versions.PACKAGE_VERSION,
            "digest": self.digest(),
            "policy": self.policy.to_dict(),
            "write": self.write,
            "shard_size": self.shard_size,
            "relabel": self.relabel,
            "search": self.search,
            "quality": [list(file) for file in self.quality],
            "against": [list(file) for file in self.against],
            "findings": [list(file) for file in self.findings],
        }


def describe_run(
    policy: Policy,
    own: Sequence[TableFile],
    against: Sequence[TableFile],
    findings: Findings,
    search: str,
    writing: Writing,
    review: Review | None = None,
    groups: tuple[str, ...] = (),
) -> FilterRun:
    """The run that these tables and settings make; reads the end of every file."""
    parts = [*own, *against]
    digests = list(storage.in_flight([part.url for part in parts], footer_digest, _FOOTERS_AT_ONCE))
    files = tuple((part.name, part.rows, digest) for part, digest in zip(parts, digests, strict=True))
    found = (*findings.labels, *findings.pairs)
    named = tuple((url.rpartition("/")[2], footer_digest(url)) for url in found)
    return FilterRun(
        policy,
        files[: len(own)],
        files[len(own) :],
        named,
        search,
        writing.what,
        writing.shard_size,
        writing.relabel,
        writing.recordio_layout,
        tuple(label_digests(own)),
        "" if review is None else review.digest(),
        groups,
    )


def prepare_output(output: str, resume: bool, overwrite: bool) -> None:
    """Check that an output may be written to (`fiqa_core.runs.folder.prepare`)."""
    prepare(output, FILTER_RUN, resume, overwrite)


def begin(
    output: str, run: FilterRun, overwrite: bool, review: Review | None = None, keep_findings: bool = False
) -> dict[str, Any] | None:
    """Write down what this run is; before that clear an earlier one (`overwrite`) or make sure it is the same.

    `keep_findings`: `overwrite` leaves the findings, which are used again if the search for them would be the same.

    Returns the summary of an earlier run that left nothing to do.

    Raises:
        OutputError: another policy or input, with the differences named.
    """
    if overwrite:
        refuse_foreign(output, FILTER_RUN, everywhere=True)
        subset_files.refuse_foreign(output)
        dropped_files.refuse_foreign(output)
        clear(output, _KEEPING_FINDINGS if keep_findings else FILTER_RUN)
    elif (earlier := earlier_run(output, FILTER_RUN)) is not None:
        refuse_differences(output, _differences(earlier, run.to_dict()))
        _refuse_other_writing(output, earlier, run.to_dict())
        finished = _finished(output, run)
        if finished is not None:
            return finished
    storage.remove(storage.join(output, SUMMARY))  # it says "finished", which this run is not yet
    storage.publish_bytes(json.dumps(run.to_dict(), indent=1).encode(), output, storage.join(output, RUN))
    storage.publish_bytes(run.policy.to_yaml().encode(), output, storage.join(output, POLICY))
    if review is not None:
        storage.publish_bytes(review.content, output, storage.join(output, REVIEW))
    return None


def _refuse_other_writing(output: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to write the kept images in another way over those that were written. The decisions stand; a list of kept
    rows stays beside a subset, and where nothing was written yet anything may be.

    Raises:
        OutputError: it names what was written.
    """
    different = changed(then, now, ("write", "shard_size", "relabel", "recordio_layout"))
    manifest = storage.list_names(storage.join(output, MANIFEST))
    listed = bool(manifest) and then.get("write") == now["write"] == "manifest"
    if different and (subset_files.is_begun(output) or listed):
        raise OutputError(
            f"{output}: the kept rows were written in another way ({'; '.join(different)}), and --resume removes "
            "nothing that is finished. Use the earlier options, or --overwrite to replace it, or another --output."
        )


def finish(output: str, summary: Mapping[str, Any]) -> None:
    """Publish `summary.json`; its presence means that everything else is there."""
    storage.publish_bytes(sealed(summary), output, storage.join(output, SUMMARY))
    storage.sweep(output)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes the decisions other ones: settings of the policy, the search, and the tables."""
    found: list[str] = []
    for section, keys in now["policy"].items():
        if section != "version":
            before = then["policy"].get(section)
            found += [f"{section}: {line}" for line in changed(before if isinstance(before, dict) else {}, keys, keys)]
    found += changed(then, now, ("decisions_version", "search", "labels", "review", "groups"))
    for name in ("quality", "against", "findings"):
        before, after = ([tuple(file) for file in run[name]] for run in (then, now))
        other = [file[0] for file in after if file not in before] + [file[0] for file in before if file not in after]
        found += [f"{name}: {file}: added, removed or changed" for file in dict.fromkeys(other)][:SHOWN]
        if not other and before != after:
            found.append(f"{name}: the same files in another order")
    return found


def _finished(output: str, run: FilterRun) -> dict[str, Any] | None:
    """The summary of a run that left nothing to do. A subset is not looked through: writing it again finds that out."""
    place = storage.join(output, SUMMARY)
    if not {SUMMARY, REMOVED, POLICY} <= set(storage.list_names(output)):
        return None
    summary = unsealed(place)
    if summary is None:
        return None
    names = [f"part-{number:06d}.parquet" for number in range(len(run.quality))]
    if not summary["complete"] or storage.list_names(storage.join(output, DECISIONS)) != names:
        return None
    urls = [storage.join(output, DECISIONS, name) for name in names]
    digest = run.digest()
    if not all(storage.in_flight(urls, lambda url: is_of_run(url, digest), _FOOTERS_AT_ONCE)):
        return None
    listed = len(storage.list_names(storage.join(output, MANIFEST))) if run.write == "manifest" else 0
    return summary if listed == summary["manifest_files"] else None
