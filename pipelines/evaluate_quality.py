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
from fiqa_core.evaluation.comparisons import SCORES
from fiqa_core.evaluation.dataset import UNSCORED, Dataset
from fiqa_core.evaluation.edc import PROTOCOLS
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.named import Named, for_dataset, parse_named
from fiqa_core.evaluation.output import check_output, publish_all
from fiqa_core.evaluation.plots import plot, require_matplotlib
from fiqa_core.evaluation.report import as_csv, auc_rows, curve_table
from fiqa_core.evaluation.sources import Embeddings, Qualities
from fiqa_core.evaluation.study import ORACLE, RANDOM, Result, StudySettings, study
from fiqa_core.evaluation.thresholds import recommendation_rows
from fiqa_core.scoring.output_lock import hold_output
from pipelines import evaluation_words as words
from pipelines.evaluation_sources import Sources, is_network
from schemas import versions
from schemas.edc import AUC_COLUMNS, RECOMMENDATION_COLUMNS

_log = logging.getLogger("evaluate_quality")
EXIT_OK, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 2, 130


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments, rest = _parser().parse_known_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("fsspec").setLevel(logging.WARNING)
    try:
        _run(arguments, rest)
    except (ValueError, OSError, MemoryError) as error:
        _log.error("%s", error)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        _log.error("interrupted; nothing was written")
        return EXIT_INTERRUPTED
    return EXIT_OK


@dataclass
class _Findings:
    """What has been computed so far, by dataset and face recognition model."""

    tables: list[pa.Table] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)


def _run(arguments: argparse.Namespace, embed_options: Sequence[str]) -> None:
    if not arguments.no_plots:
        require_matplotlib()
    if embed_options and not any(is_network(path) for path in arguments.embeddings):
        raise EvaluationError(
            f"not an option: {' '.join(embed_options)} (embed_dataset's need a network to embed with)"
        )
    if arguments.recommend and "fixed" not in arguments.protocol:
        raise EvaluationError("--recommend reads the curve of a fixed threshold: leave --protocol out, or say both")
    output = storage.absolute(arguments.output)
    datasets = parse_named(arguments.pairs, "--pairs")
    with hold_output(output), tempfile.TemporaryDirectory() as workspace:
        check_output(output, arguments.overwrite)
        findings, sources = _Findings(), Sources(Path(workspace), embed_options)
        for dataset in datasets:
            _evaluate(dataset, arguments, sources, findings, Path(workspace))
        edc = Path(workspace) / "edc.parquet"
        pq.write_table(pa.concat_tables(findings.tables).unify_dictionaries(), edc, compression="zstd")
        findings.files["edc.parquet"] = edc
        _write(findings, workspace, "auc.csv", as_csv(AUC_COLUMNS, findings.areas))
        if arguments.recommend:
            content = as_csv(RECOMMENDATION_COLUMNS, findings.thresholds)
            _write(findings, workspace, "recommendations.csv", content)
        publish_all(output, findings.files, _account(arguments, findings))
    for line in words.areas(findings.datasets, findings.areas) + words.thresholds(findings.thresholds):
        print(line)
    print(f"written: {arguments.output} ({', '.join(sorted(findings.files))})")


def _evaluate(
    named: Named, arguments: argparse.Namespace, sources: Sources, findings: _Findings, workspace: Path
) -> None:
    templates = for_dataset(parse_named(arguments.templates, "--templates"), named.name).get(named.name)
    dataset = Dataset.read(named.name, named.path, templates)
    models = for_dataset(parse_named(arguments.embeddings, "--embeddings"), named.name)
    flipped = for_dataset(parse_named(arguments.flipped, "--flipped"), named.name)
    if unknown := sorted(set(flipped) - set(models)):
        raise EvaluationError(f"--flipped {unknown[0]}=...: no model of that name in --embeddings")
    given = {
        method: sources.qualities(path)
        for method, path in for_dataset(parse_named(arguments.quality, "--quality"), named.name).items()
    }
    tables = dict(given)
    images = for_dataset(parse_named(arguments.images, "--images"), named.name).get(named.name, "")
    if arguments.embedding_norm:
        tables |= {f"norm-{model}": _norms(sources.embeddings(path, images)) for model, path in models.items()}
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
    costs = for_dataset(parse_named(arguments.cost_on, "--cost-on"), named.name)
    # Only what has a column `quality` in which higher is better can be filtered by.
    at_hand = {
        method: sources.qualities(costs[method]) if method in costs else table
        for method, table in given.items()
        if method not in arguments.lower_is_better
    }
    for model, path in models.items():
        embeddings = [sources.embeddings(place, images) for place in (path, flipped.get(model)) if place]
        comparisons = dataset.compare(embeddings, model, arguments.score)
        _log.info("%s, %s: %d pairs compared", named.name, model, len(dataset.pairs))
        results = list(study(dataset.pairs, comparisons, methods, subjects, settings))
        findings.tables.append(curve_table(named.name, model, results))
        findings.areas += auc_rows(named.name, model, results)
        if not arguments.no_plots:
            _plot(named.name, model, results, findings, workspace)
        if arguments.recommend:
            findings.thresholds += recommendation_rows(named.name, model, results, at_hand, arguments.target_fnmr)


def _norms(embeddings: Embeddings) -> Qualities:
    """The length of an image's embedding as its quality: known to say something for some recognisers."""
    norms = np.linalg.norm(embeddings.matrix.astype(np.float64), axis=1)
    known = norms[np.isfinite(norms)]
    if len(known) and np.ptp(known) < 1e-3 * np.median(known):
        raise EvaluationError(
            "--embedding-norm: all embeddings have the same length, so they were normalised; give them as the network "
            "gives them"
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
        stem = f"edc-{dataset}-{model}-{protocol}"
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


def _account(arguments: argparse.Namespace, findings: _Findings) -> dict[str, Any]:
    given = {name: value for name, value in sorted(vars(arguments).items()) if name not in ("output", "overwrite")}
    return {
        "package_version": versions.PACKAGE_VERSION,
        "datasets": findings.datasets,
        "arguments": given,
        "files": sorted(findings.files),
    }


def _protocols(text: str) -> list[str]:
    if text not in (*PROTOCOLS, "both"):
        raise argparse.ArgumentTypeError(f"expected crfiqa, fixed or both, found {text!r}")
    return list(PROTOCOLS) if text == "both" else [text]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.evaluate_quality",
        description="Error-versus-discard curves of quality measures: how the false non-match rate falls when the "
        "comparisons of worst quality are discarded.",
        epilog="Names: NAME=PATH, or DATASET:NAME=PATH for one of several datasets. Exit code: 0 done; 2 bad input or "
        "option, and nothing was written; 130 interrupted.",
        allow_abbrev=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--quality", nargs="+", default=[], metavar="NAME=PATH", help="quality tables, or score files (`path score`)"
    )
    data.add_argument(
        "--embeddings",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="face recognition models: tables with `key` and `embedding`, folders of .npy, or networks",
    )
    data.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="DATASET=URI",
        help="what a network in --embeddings embeds; embed_dataset's options (--flip, --onnx-mean ...) go to it",
    )
    data.add_argument("--flipped", nargs="+", default=[], metavar="NAME=PATH", help="the same of the mirrored images")
    data.add_argument("--pairs", nargs="+", required=True, metavar="NAME=PATH", help="lines `a b 1` (same) or `a b 0`")
    data.add_argument(
        "--templates",
        nargs="+",
        default=[],
        metavar="DATASET=PATH",
        help="template sets (IJB-C): lines `image template media`; the pairs are then of templates",
    )
    data.add_argument("--output", required=True, metavar="URI", help="folder for the results; must be empty or new")
    data.add_argument("--overwrite", action="store_true", help="replace an earlier evaluation")
    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--embedding-norm", action="store_true", help="also the length of each model's embeddings as a quality measure"
    )
    measures.add_argument("--lower-is-better", nargs="+", default=[], metavar="NAME", help="measures to turn round")
    measures.add_argument(
        "--unscored", choices=UNSCORED, default="error", help="images without a quality (default: an error)"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--fmr", nargs="+", type=float, default=[1e-2, 1e-3, 1e-4], metavar="F", help="target FMRs")
    how.add_argument("--protocol", type=_protocols, default=list(PROTOCOLS), help="crfiqa, fixed or both (default)")
    how.add_argument("--score", choices=SCORES, default="arccos", help="dissimilarity of two embeddings")
    how.add_argument("--allow-unmeasurable", action="store_true", help="target FMRs below 1 / non-mated pairs too")
    how.add_argument("--bootstrap", type=_count, default=0, metavar="N", help="95 %% bands from N resamples (try 200)")
    how.add_argument("--random-seeds", type=_count, default=10, metavar="N", help="random curves to take the mean of")
    how.add_argument("--seed", type=_count, default=0, metavar="N", help="of resamples and random curves")
    how.add_argument("--no-plots", action="store_true", help="no PNG and SVG")
    choice = parser.add_argument_group("choosing a threshold")
    choice.add_argument("--recommend", action="store_true", help="where discarding stops paying, and what it costs")
    choice.add_argument(
        "--target-fnmr",
        nargs="+",
        type=float,
        default=[],
        metavar="F",
        help="FNMRs to reach (default: half of today's)",
    )
    choice.add_argument(
        "--cost-on",
        nargs="+",
        default=[],
        metavar="NAME=TABLE",
        help="count the costs on this table of the measure NAME",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run())
