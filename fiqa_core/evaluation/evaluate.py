"""An evaluation from what was asked to its files: every dataset, face recognition model and quality measure."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.evaluation.bootstrap import Resampling, subjects_of
from fiqa_core.evaluation.chance import gain_by_chance
from fiqa_core.evaluation.comparisons import Comparisons
from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.difference_plot import plot_differences
from fiqa_core.evaluation.differences import difference_rows, measure_to_compare_with
from fiqa_core.evaluation.edc import check_measurable
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.group_errors import group_rows
from fiqa_core.evaluation.label_pairs import is_label_pairs
from fiqa_core.evaluation.label_sources import groups_of, labels_for, pairs_from_labels
from fiqa_core.evaluation.measures import Measures, Sources, measures_of
from fiqa_core.evaluation.named import Named, by_dataset, for_dataset, parse_named
from fiqa_core.evaluation.pairs import is_verification_set
from fiqa_core.evaluation.plots import plot
from fiqa_core.evaluation.poor_images import JudgedImages
from fiqa_core.evaluation.recommendations import recommendation_rows
from fiqa_core.evaluation.result_rows import as_csv, auc_rows, curve_table
from fiqa_core.evaluation.sources import Embeddings, Labelled, Qualities
from fiqa_core.evaluation.study import Result, StudySettings, study
from fiqa_core.wording import counted
from schemas.edc import AUC_COLUMNS, DIFFERENCE_COLUMNS, GROUP_COLUMNS, POOR_IMAGE_COLUMNS, RECOMMENDATION_COLUMNS

_log = logging.getLogger(__name__)
OF_TEMPLATES = (
    "read off templates, each as good as its worst image: filtering images keeps a template's better ones, so neither "
    "the share discarded nor the FNMR holds for it"
)


@dataclass(frozen=True)
class EvaluationOptions:
    """What is to be evaluated. Texts are `NAME=PATH` or `DATASET:NAME=PATH` (`fiqa_core.evaluation.named`).

    Attributes:
        pairs: pair lists, one a dataset. quality: measures. embeddings: face recognition models. flipped: the same
            models' embeddings of the mirrored images.
        images: by dataset, what a network in `embeddings` embeds. templates: by dataset, its template list.
        labels: by dataset (or one for all), a file of labels, which go before those of tables; labels_key,
            labels_column: its columns, "" to find them by name.
        group_by: by dataset (or one for all), a file key -> group, or a column of a table in `quality`; group_key,
            group_column: columns of the file.
        cost_on: by measure, the table on which recommended thresholds are counted.
        embedding_norm: the length of each model's embeddings is a measure too. lower_is_better: measures to negate.
        unscored: what an image without a quality is (`fiqa_core.evaluation.dataset.UNSCORED`).
        score: dissimilarity of two embeddings (`fiqa_core.evaluation.comparisons.SCORES`).
        against_measure: all others are compared with this one; "": with the first.
        plots: draw the curves. recommend: look for thresholds. target_fnmr: FNMRs that these should reach.
    """

    pairs: Sequence[str]
    quality: Sequence[str]
    embeddings: Sequence[str]
    flipped: Sequence[str] = ()
    images: Sequence[str] = ()
    templates: Sequence[str] = ()
    labels: Sequence[str] = ()
    labels_key: str = ""
    labels_column: str = ""
    cost_on: Sequence[str] = ()
    embedding_norm: bool = False
    lower_is_better: Sequence[str] = ()
    unscored: str = "error"
    score: str = "arccos"
    study: StudySettings = field(default_factory=StudySettings)
    against_measure: str = ""
    plots: bool = True
    recommend: bool = False
    target_fnmr: Sequence[float] = ()
    group_by: Sequence[str] = ()
    group_key: str = ""
    group_column: str = "group"


@dataclass
class Evaluation:
    """What was found, dataset by dataset and model by model; `files` by the name that they are published under.

    `voters`: by dataset with several recognisers, the number of these and of measures, which both name poor images.
    """

    tables: list[pa.Table] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    poor_images: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    voters: dict[str, tuple[int, int]] = field(default_factory=dict)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    without_threshold: list[str] = field(default_factory=list)


def evaluate(options: EvaluationOptions, sources: Sources, workspace: Path) -> Evaluation:
    """Compute all curves; the files of the evaluation are made in `workspace`.

    Raises:
        EvaluationError: options that do not fit together, or data that cannot be evaluated as asked.
    """
    datasets = parse_named(options.pairs, "--pairs")
    names = [dataset.name for dataset in datasets]
    found = Evaluation()
    for dataset in datasets:
        _evaluate_dataset(dataset, names, options, sources, found, workspace)
    edc = workspace / "edc.parquet"
    pq.write_table(pa.concat_tables(found.tables).unify_dictionaries(), edc, compression="zstd")
    found.files["edc.parquet"] = edc
    _write(found, workspace / "auc.csv", as_csv(AUC_COLUMNS, found.areas))
    if found.differences:
        _write(found, workspace / "differences.csv", as_csv(DIFFERENCE_COLUMNS, found.differences))
    if options.group_by:
        _write(found, workspace / "groups.csv", as_csv(GROUP_COLUMNS, found.groups))
    if found.voters:
        _write(found, workspace / "poor_images.csv", as_csv(POOR_IMAGE_COLUMNS, found.poor_images))
    if options.recommend:
        _write(found, workspace / "recommendations.csv", as_csv(RECOMMENDATION_COLUMNS, found.thresholds))
    return found


def cost_tables(options: EvaluationOptions, dataset: str) -> dict[str, str]:
    """Tables that costs are counted on, by measure; one without a name is for the only measure.

    Raises:
        EvaluationError: no measure of that name.
    """
    measures = list(dict.fromkeys(named.name for named in parse_named(options.quality, "--quality")))
    found = parse_named(options.cost_on, "--cost-on")
    if len(found) == 1 == len(measures) and not found[0].given:
        return {measures[0]: found[0].path}
    for named in found:
        if named.name not in measures or not named.given:
            raise EvaluationError(
                f"--cost-on {named.text}: which measure is it for? Give NAME=TABLE; the names in --quality are "
                f"{', '.join(measures) or '(none)'}"
            )
    return for_dataset(found, dataset)


def plot_stem(dataset: str, model: str, protocol: str, kind: str = "edc") -> str:
    """Name of a plot without its suffix."""
    return f"{kind}-{dataset}-{model}-{protocol}"


def _evaluate_dataset(
    named: Named,
    names: Sequence[str],
    options: EvaluationOptions,
    sources: Sources,
    found: Evaluation,
    workspace: Path,
) -> None:
    templates = by_dataset(options.templates, "--templates", names).get(named.name)
    own_images = named.path if is_verification_set(named.path) else ""
    images = by_dataset(options.images, "--images", names).get(named.name, own_images)
    costs = cost_tables(options, named.name)
    labels = labels_for(named.name, options.labels, options.labels_key, options.labels_column)
    if is_label_pairs(named.path):
        pairs = pairs_from_labels(named, _labelled(named, images, options, sources), labels, options.study.seed)
        dataset = Dataset.of(named.name, pairs, named.path, templates)
    else:
        dataset = Dataset.read(named.name, named.path, templates)
    check_measurable(int((~dataset.pairs.mated).sum()), options.study.fmrs, options.study.allow_unmeasurable)
    models = for_dataset(parse_named(options.embeddings, "--embeddings"), named.name)
    flipped = for_dataset(parse_named(options.flipped, "--flipped"), named.name)
    if unknown := sorted(set(flipped) - set(models)):
        raise EvaluationError(f"--flipped {unknown[0]}=...: no model of that name in --embeddings")
    measures = measures_of(named.name, models, images, options, sources)
    methods = {method: dataset.qualities(table, method, options.unscored) for method, table in measures.tables.items()}
    subjects = None
    if options.study.replicates:
        embedded = (sources.embeddings(path, images) for path in models.values())
        subjects = _subjects(dataset, [*labels, *measures.tables.values(), *embedded])
    against = measure_to_compare_with(options.against_measure, list(methods), named.name)
    found.datasets.append(_facts_of(dataset, subjects))
    counted_on = _counted_on(measures, costs, options, sources)
    if options.recommend:
        found.without_threshold += [method for method in measures.tables if method not in counted_on]
    groups = groups_of(dataset, options.group_by, options.quality, options.group_key, options.group_column)
    judged = JudgedImages(dataset.pairs, options.study.fmrs)
    for model, path in models.items():
        embeddings = [sources.embeddings(place, images) for place in (path, flipped.get(model)) if place]
        comparisons = dataset.compare(embeddings, model, options.score)
        _log.info("%s, %s: %s compared", named.name, model, counted(len(dataset.pairs), "pair"))
        results = list(study(dataset.pairs, comparisons, methods, subjects, options.study))
        found.tables.append(curve_table(named.name, model, results))
        found.areas += auc_rows(named.name, model, results)
        differences = difference_rows(named.name, model, results, list(methods), against)
        found.differences += differences
        if len(models) > 1:
            judged.add(model, comparisons)
        if groups is not None:
            found.groups += group_rows(
                named.name,
                model,
                dataset.pairs,
                comparisons,
                methods,
                groups,
                options.study.fmrs,
                None if subjects is None else Resampling(subjects, options.study.replicates, options.study.seed),
            )
        if options.plots:
            _plot(named.name, model, results, found, workspace)
            _plot_differences(named.name, model, differences, found, workspace)
        if options.recommend:
            found.thresholds += _recommended(dataset, model, results, counted_on, comparisons, options)
    if judged.failing:
        found.poor_images += judged.rows(named.name, methods)
        found.voters[named.name] = len(models), len(methods)


def _labelled(named: Named, images: str, options: EvaluationOptions, sources: Sources) -> Qualities | Embeddings:
    """The first measure of a dataset, or (where there is none) the first model: of its images pairs are made."""
    for path in for_dataset(parse_named(options.quality, "--quality"), named.name).values():
        return sources.qualities(path)
    for path in for_dataset(parse_named(options.embeddings, "--embeddings"), named.name).values():
        return sources.embeddings(path, images)
    raise EvaluationError(f"--pairs {named.text}: neither --quality nor --embeddings is for this dataset")


def _subjects(dataset: Dataset, sources: Sequence[Labelled]) -> np.ndarray:
    """Who each name of the pair list shows, as numbers from 0."""
    subjects = subjects_of(dataset.pairs, dataset.labels(sources))
    if subjects.max() == 0:
        raise EvaluationError(
            f"{dataset.name}: all images show one subject, by the labels or by what mated pairs join; --bootstrap "
            "resamples subjects and needs at least two"
        )
    dataset.warn_of_contradictions(subjects)
    return subjects


def _counted_on(
    measures: Measures, costs: Mapping[str, str], options: EvaluationOptions, sources: Sources
) -> dict[str, Qualities]:
    """By measure, the table on which the cost of a threshold is counted.

    Only of what has a column `quality` in which higher is better: nothing else can be filtered by.
    """
    if not options.recommend:
        return {}
    return {
        method: sources.qualities(costs[method]) if method in costs else table
        for method, table in measures.given.items()
        if method not in options.lower_is_better
    }


def _recommended(
    dataset: Dataset,
    model: str,
    results: Sequence[Result],
    counted_on: Mapping[str, Qualities],
    comparisons: Comparisons,
    options: EvaluationOptions,
) -> list[dict[str, Any]]:
    return recommendation_rows(
        dataset.name,
        model,
        results,
        counted_on,
        lambda curve: gain_by_chance(dataset.pairs, comparisons, float(curve.threshold[0]), options.study.seed),
        options.target_fnmr,
        "" if dataset.templates is None else OF_TEMPLATES,
    )


def _plot(dataset: str, model: str, results: Sequence[Result], found: Evaluation, workspace: Path) -> None:
    for protocol in dict.fromkeys(result.curve.protocol for result in results):
        stem = plot_stem(dataset, model, protocol)
        paths = [workspace / f"{stem}.{suffix}" for suffix in ("png", "svg")]
        own = [result for result in results if result.curve.protocol == protocol]
        plot(own, f"{dataset}, {model}, protocol {protocol}", paths)
        found.files |= {path.name: path for path in paths}


def _plot_differences(
    dataset: str, model: str, rows: Sequence[dict[str, Any]], found: Evaluation, workspace: Path
) -> None:
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        stem = plot_stem(dataset, model, protocol, "differences")
        paths = [workspace / f"{stem}.{suffix}" for suffix in ("png", "svg")]
        own = [row for row in rows if row["protocol"] == protocol]
        plot_differences(own, f"{dataset}, {model}, protocol {protocol}", paths)
        found.files |= {path.name: path for path in paths}


def _write(found: Evaluation, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found.files[path.name] = path


def _facts_of(dataset: Dataset, subjects: np.ndarray | None) -> dict[str, Any]:
    mated = int(dataset.pairs.mated.sum())
    facts: dict[str, Any] = {
        "name": dataset.name,
        "names": len(dataset.pairs.names),
        "kind": "images" if dataset.templates is None else "templates",
        "n_mated": mated,
        "n_nonmated": len(dataset.pairs) - mated,
    }
    return facts if subjects is None else facts | {"subjects": int(subjects.max()) + 1}
