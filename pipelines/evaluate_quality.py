"""Show that scores mean something: quality + face recognition embeddings + pairs -> error-versus-discard curves."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.evaluation.bootstrap import subjects_of
from fiqa_core.evaluation.chance import gain_by_chance
from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.edc import check_measurable
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.named import Named, by_dataset, for_dataset, parse_named
from fiqa_core.evaluation.output import check_output, publish_all
from fiqa_core.evaluation.plots import plot, require_matplotlib
from fiqa_core.evaluation.recommendations import recommendation_rows
from fiqa_core.evaluation.result_rows import as_csv, auc_rows, curve_table
from fiqa_core.evaluation.sources import Embeddings, Qualities
from fiqa_core.evaluation.study import ORACLE, RANDOM, Result, StudySettings, study
from fiqa_core.runs.lock import hold_output
from fiqa_core.wording import counted
from pipelines.cli import evaluation_report as words
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, guarded, set_up_logging
from pipelines.cli.evaluation_options import check, costs, parser, plot_stem
from pipelines.cli.log_format import report
from pipelines.jobs.evaluation_sources import Sources, is_network
from schemas import versions
from schemas.edc import AUC_COLUMNS, RECOMMENDATION_COLUMNS

__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("evaluate_quality")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments, rest = parser().parse_known_args(argv)
    set_up_logging()
    return guarded(_log, lambda: _run(arguments, rest), "interrupted; nothing was written")


@dataclass
class _Findings:
    """What has been computed so far, by dataset and face recognition model."""

    tables: list[pa.Table] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    without_threshold: list[str] = field(default_factory=list)


def _run(arguments: argparse.Namespace, embed_options: Sequence[str]) -> int:
    if not arguments.no_plots:
        require_matplotlib()
    if embed_options and not any(is_network(path) for path in arguments.embeddings):
        raise EvaluationError(
            f"not an option: {' '.join(embed_options)} (embed_dataset's need a network to embed with)"
        )
    output = storage.absolute(arguments.output)
    if storage.stat(output) is not None and not storage.is_folder(output):
        raise EvaluationError(f"--output {arguments.output}: is a file; the results are a folder")
    arguments.fmr = list(dict.fromkeys(arguments.fmr))
    datasets = parse_named(arguments.pairs, "--pairs")
    check(arguments, datasets)
    with hold_output(output), tempfile.TemporaryDirectory() as workspace:
        check_output(output, arguments.overwrite)
        findings, sources = _Findings(), Sources(Path(workspace), _embed, embed_options, arguments.allow_incomplete)
        for dataset in datasets:
            _evaluate(dataset, [entry.name for entry in datasets], arguments, sources, findings, Path(workspace))
        edc = Path(workspace) / "edc.parquet"
        pq.write_table(pa.concat_tables(findings.tables).unify_dictionaries(), edc, compression="zstd")
        findings.files["edc.parquet"] = edc
        _write(findings, workspace, "auc.csv", as_csv(AUC_COLUMNS, findings.areas))
        if arguments.recommend:
            content = as_csv(RECOMMENDATION_COLUMNS, findings.thresholds)
            _write(findings, workspace, "recommendations.csv", content)
        publish_all(output, findings.files, _account(arguments, embed_options, findings))
    lines = words.areas(findings.datasets, findings.areas) + words.thresholds(findings.thresholds)
    lines += words.without_threshold(findings.without_threshold)
    report([*lines, f"written: {arguments.output} ({', '.join(sorted(findings.files))})"])
    return EXIT_OK


def _embed(flags: Sequence[str]) -> int:
    """Run embed_dataset for a network among the embeddings; its exit code."""
    # Only here: tables need neither Beam nor torch, which take seconds to load.
    from pipelines import embed_dataset

    return embed_dataset.run(flags, passing=True)


def _evaluate(
    named: Named,
    datasets: Sequence[str],
    arguments: argparse.Namespace,
    sources: Sources,
    findings: _Findings,
    workspace: Path,
) -> None:
    templates = by_dataset(arguments.templates, "--templates", datasets).get(named.name)
    images = by_dataset(arguments.images, "--images", datasets).get(named.name, "")
    cost_tables = costs(arguments, named.name)
    dataset = Dataset.read(named.name, named.path, templates)
    check_measurable(int((~dataset.pairs.mated).sum()), arguments.fmr, arguments.allow_unmeasurable)
    models = for_dataset(parse_named(arguments.embeddings, "--embeddings"), named.name)
    flipped = for_dataset(parse_named(arguments.flipped, "--flipped"), named.name)
    if unknown := sorted(set(flipped) - set(models)):
        raise EvaluationError(f"--flipped {unknown[0]}=...: no model of that name in --embeddings")
    given = {
        method: sources.qualities(path)
        for method, path in for_dataset(parse_named(arguments.quality, "--quality"), named.name).items()
    }
    tables = dict(given)
    if arguments.embedding_norm:
        norms = {f"norm-{model}": path for model, path in models.items()}
        if taken := sorted(set(norms) & set(given)):
            raise EvaluationError(f"--quality {taken[0]}=...: --embedding-norm gives a measure of that name")
        tables |= {method: _norms(sources.embeddings(path, images), method) for method, path in norms.items()}
    _refuse_names(list(tables), arguments.lower_is_better)
    tables = {
        method: _negated(table) if method in arguments.lower_is_better else table for method, table in tables.items()
    }
    if not models or not (tables or arguments.embedding_norm):
        raise EvaluationError(f"{named.name}: no {'--quality' if models else '--embeddings'} is for this dataset")
    methods = {method: dataset.qualities(table, method, arguments.unscored) for method, table in tables.items()}
    subjects = None
    if arguments.bootstrap:
        labels = dataset.labels([*tables.values(), *(sources.embeddings(path, images) for path in models.values())])
        subjects = subjects_of(dataset.pairs, labels)
        if subjects.max() == 0:
            raise EvaluationError(
                f"{named.name}: all images show one subject, by the labels or by what mated pairs join; --bootstrap "
                "resamples subjects and needs at least two"
            )
        dataset.warn_of_contradictions(subjects)
    findings.datasets.append(_described(dataset, subjects))
    settings = StudySettings(
        tuple(arguments.protocol),
        tuple(arguments.fmr),
        arguments.allow_unmeasurable,
        arguments.bootstrap,
        arguments.random_seeds,
        arguments.seed,
    )
    # Only what has a column `quality` in which higher is better can be filtered by.
    at_hand = {
        method: sources.qualities(cost_tables[method]) if method in cost_tables else table
        for method, table in given.items()
        if arguments.recommend and method not in arguments.lower_is_better
    }
    if arguments.recommend:
        findings.without_threshold += [method for method in tables if method not in at_hand]
    for model, path in models.items():
        embeddings = [sources.embeddings(place, images) for place in (path, flipped.get(model)) if place]
        comparisons = dataset.compare(embeddings, model, arguments.score)
        _log.info("%s, %s: %s compared", named.name, model, counted(len(dataset.pairs), "pair"))
        results = list(study(dataset.pairs, comparisons, methods, subjects, settings))
        findings.tables.append(curve_table(named.name, model, results))
        findings.areas += auc_rows(named.name, model, results)
        if not arguments.no_plots:
            _plot(named.name, model, results, findings, workspace)
        if arguments.recommend:
            findings.thresholds += recommendation_rows(
                named.name,
                model,
                results,
                at_hand,
                lambda curve, comparisons=comparisons: gain_by_chance(  # type: ignore[misc]
                    dataset.pairs, comparisons, float(curve.threshold[0]), arguments.seed
                ),
                arguments.target_fnmr,
                "" if dataset.templates is None else words.OF_TEMPLATES,
            )


def _norms(embeddings: Embeddings, name: str) -> Qualities:
    """The length of an image's embedding as its quality: known to say something for some recognisers."""
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings.matrix, embeddings.matrix, dtype=np.float64))
    known = norms[np.isfinite(norms)]
    if len(known) and np.ptp(known) < 1e-3 * np.median(known):
        raise EvaluationError(
            f"--embedding-norm, {name}: all embeddings have the same length, so they were normalised; give them as "
            "the network gives them"
        )
    return Qualities(embeddings.index, norms, embeddings.labels)


def _negated(table: Qualities) -> Qualities:
    return Qualities(table.index, -table.values, table.labels)


def _refuse_names(methods: Sequence[str], lower_is_better: Sequence[str]) -> None:
    if taken := sorted({RANDOM, ORACLE} & set(methods)):
        raise EvaluationError(f"--quality {taken[0]}=...: that name is one of the two bounds' (random, oracle)")
    if unknown := sorted(set(lower_is_better) - set(methods)):
        raise EvaluationError(f"--lower-is-better {unknown[0]}: no measure of that name; there is {', '.join(methods)}")


def _plot(dataset: str, model: str, results: Sequence[Result], findings: _Findings, workspace: Path) -> None:
    for protocol in dict.fromkeys(result.curve.protocol for result in results):
        stem = plot_stem(dataset, model, protocol)
        paths = [workspace / f"{stem}.{suffix}" for suffix in ("png", "svg")]
        own = [result for result in results if result.curve.protocol == protocol]
        plot(own, f"{dataset}, {model}, protocol {protocol}", paths)
        findings.files |= {path.name: path for path in paths}


def _write(findings: _Findings, workspace: str, name: str, content: bytes) -> None:
    findings.files[name] = Path(workspace) / name
    findings.files[name].write_bytes(content)


def _described(dataset: Dataset, subjects: np.ndarray | None) -> dict[str, Any]:
    mated = int(dataset.pairs.mated.sum())
    facts: dict[str, Any] = {
        "name": dataset.name,
        "names": len(dataset.pairs.names),
        "kind": "images" if dataset.templates is None else "templates",
        "n_mated": mated,
        "n_nonmated": len(dataset.pairs) - mated,
    }
    return facts if subjects is None else facts | {"subjects": int(subjects.max()) + 1}


def _account(arguments: argparse.Namespace, embed_options: Sequence[str], findings: _Findings) -> dict[str, Any]:
    given = {name: value for name, value in sorted(vars(arguments).items()) if name not in ("output", "overwrite")}
    return {
        "package_version": versions.PACKAGE_VERSION,
        "datasets": findings.datasets,
        "arguments": given,
        "files": sorted(findings.files),
    } | ({"embed_dataset": list(embed_options)} if any(is_network(path) for path in arguments.embeddings) else {})


if __name__ == "__main__":
    sys.exit(run())
