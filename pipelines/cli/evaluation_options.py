"""The options of evaluate_quality, and what is refused before anything is read."""

import argparse
from itertools import product

from fiqa_core.evaluation.comparisons import SCORES
from fiqa_core.evaluation.dataset import UNSCORED
from fiqa_core.evaluation.edc import PROTOCOLS
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.evaluate import plot_stem
from fiqa_core.evaluation.named import Named, check_datasets, for_dataset, parse_named
from pipelines.cli.command import rate
from pipelines.cli.label_options import add_group_options, add_labels_columns
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete
from pipelines.cli.table_options import add_again_options


def check(arguments: argparse.Namespace, datasets: list[Named]) -> None:
    """Refuse options that contradict each other, or name something that does not exist.

    Raises:
        EvaluationError: a dataset or measure of that name is not there, or two plots would have one name.
    """
    if arguments.recommend and "fixed" not in arguments.protocol:
        raise EvaluationError("--recommend reads the curve of a fixed threshold: leave --protocol out, or say both")
    names = [dataset.name for dataset in datasets]
    if odd := [dataset.text for dataset in datasets if dataset.dataset]:
        raise EvaluationError(f"--pairs {odd[0]}: a pair list is a dataset of its own; give NAME=PATH")
    _check_labels(arguments, names)
    for option in ("--quality", "--embeddings", "--flipped", "--cost-on"):
        check_datasets(parse_named(_given(arguments, option), option), option, names)
    if not arguments.no_plots:
        _check_plots(arguments, names)


def _check_labels(arguments: argparse.Namespace, datasets: list[str]) -> None:
    files = parse_named(arguments.labels, "--labels")
    if not files and (arguments.labels_key or arguments.labels_column):
        raise EvaluationError("--labels-key and --labels-column are for the file of --labels, and there is none")
    for named in files:
        if named.dataset or (named.given and named.name not in datasets):
            raise EvaluationError(
                f"--labels {named.text}: which dataset is it for? Give DATASET=FILE, or FILE for all; the names in "
                f"--pairs are {', '.join(datasets)}"
            )


def _check_plots(arguments: argparse.Namespace, datasets: list[str]) -> None:
    embeddings = parse_named(arguments.embeddings, "--embeddings")
    taken: dict[str, tuple[str, str]] = {}
    for dataset, protocol in product(datasets, arguments.protocol):
        for model in for_dataset(embeddings, dataset):
            stem = plot_stem(dataset, model, protocol)
            # Some disks do not tell a name in capitals from one without.
            earlier = taken.setdefault(stem.casefold(), (dataset, model))
            if earlier != (dataset, model):
                raise EvaluationError(
                    f"dataset {earlier[0]!r} with model {earlier[1]!r}, and dataset {dataset!r} with model {model!r}: "
                    f"both plots would be called {stem}. Give one of them another name, or --no-plots."
                )


def _given(arguments: argparse.Namespace, option: str) -> list[str]:
    return list(getattr(arguments, option[2:].replace("-", "_")))


def _protocols(text: str) -> list[str]:
    if text not in (*PROTOCOLS, "both"):
        raise argparse.ArgumentTypeError(f"expected crfiqa, fixed or both, found {text!r}")
    return list(PROTOCOLS) if text == "both" else [text]


def parser() -> Parser:
    """The command's options; what it does not know may be embed_dataset's."""
    options = Parser(
        "evaluate_quality",
        "Error-versus-discard curves of quality measures: how the false non-match rate (FNMR) falls when the "
        "comparisons of worst quality are discarded.",
        [
            "--quality vit=scores --embeddings fr=embeddings --pairs lfw=pairs.txt --output edc",
            "--quality vit=scores sharp=sharpness --embeddings fr=embeddings --pairs lfw=pairs.txt --output edc "
            "--fmr 1e-2 1e-3 --bootstrap 200 --recommend",
        ],
        [
            "Names: NAME=PATH, or DATASET:NAME=PATH for one of several datasets.",
            "Exit code: 0 done; 2 bad input or option, and nothing was written; 4 a bug; 130 interrupted. "
            "docs/exit_codes.md.",
        ],
        usual=(
            *("--quality", "--judges", "--pairs", "--labels", "--group-by", "--output", "--resume", "--overwrite"),
            *("--lower-is-better", "--against-measure", "--fmr", "--protocol", "--bootstrap", "--no-plots"),
            *("--recommend", "--target-fnmr", "--images"),
        ),
    )
    _add_data(options)
    _add_measures(options)
    _add_curves(options)
    _add_choice(options)
    return options


def _add_data(options: Parser) -> None:
    data = options.add_argument_group("data")
    data.add_argument(
        "--quality",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="quality tables, or score files with lines `path score` (default: none; see --embedding-norm)",
    )
    data.add_argument(
        "--embeddings",
        "--judges",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="what face recognition models made of the images: tables with `key` and `embedding`, folders of .npy, or "
        "the networks themselves; with several of them, images that are poor for all or for one only are listed",
    )
    data.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="DATASET=URI",
        help="what a network in --embeddings embeds; options of fiqa embed (--flip, --onnx-mean ...) go to it "
        "(default: none)",
    )
    data.add_argument(
        "--flipped",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="the embeddings of the mirrored images, as --embeddings (default: none)",
    )
    data.add_argument(
        "--pairs",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="lines `a b 1` (same person) or `a b 0`; an InsightFace .bin, which is its images too; or "
        "labels[:mated=N[,nonmated=M]]: random pairs of labelled images",
    )
    data.add_argument(
        "--templates",
        nargs="+",
        default=[],
        metavar="DATASET=PATH",
        help="template sets (IJB-C): lines `image template media`; the pairs are then of templates (default: none)",
    )
    data.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="[DATASET=]FILE",
        help="who each image shows, for --bootstrap and --pairs labels, in place of the tables' labels: a CSV or "
        "Parquet file with a key and a label a row (default: none)",
    )
    add_labels_columns(data)
    add_group_options(data, several=True)
    add_allow_incomplete(data)
    data.add_argument("--output", required=True, metavar="URI", help="folder for the results; must be empty or new")
    add_again_options(data, "finish an evaluation of the same options that broke off")


def _add_measures(options: Parser) -> None:
    measures = options.add_argument_group("measures")
    measures.add_argument(
        "--embedding-norm", action="store_true", help="also the length of each model's embeddings as a quality measure"
    )
    measures.add_argument(
        "--lower-is-better",
        nargs="+",
        default=[],
        metavar="NAME",
        help="measures of which a lower value is the better quality (default: none)",
    )
    measures.add_argument(
        "--against-measure",
        default="",
        metavar="NAME",
        help="the measure with which all others are compared, resample by resample (default: the first of --quality)",
    )
    measures.add_argument(
        "--unscored", choices=UNSCORED, default="error", help="what to do with images that have no quality"
    )


def _add_curves(options: Parser) -> None:
    how = options.add_argument_group("curves")
    how.add_argument(
        "--fmr",
        nargs="+",
        type=float,
        default=[1e-2, 1e-3, 1e-4],
        metavar="RATE",
        help="target false match rates, 0 to 1",
    )
    how.add_argument(
        "--protocol", type=_protocols, default=list(PROTOCOLS), help="crfiqa, fixed or both (default: both)"
    )
    how.add_argument("--dissimilarity", choices=SCORES, default="arccos", help="how two embeddings are compared")
    how.add_argument(
        "--allow-unmeasurable", action="store_true", help="also target rates below 1 / number of non-mated pairs"
    )
    how.add_argument(
        "--bootstrap",
        type=_count,
        default=0,
        metavar="N",
        help="95 %% bands from N resamples of the subjects; try 200 (default: 0, no bands)",
    )
    how.add_argument(
        "--random-seeds", type=_count, default=10, metavar="N", help="random curves whose mean is the random bound"
    )
    how.add_argument("--seed", type=_count, default=0, metavar="N", help="seed of resamples and random curves")
    how.add_argument("--no-plots", action="store_true", help="write no PNG and SVG")


def _add_choice(options: Parser) -> None:
    choice = options.add_argument_group("choosing a threshold")
    choice.add_argument("--recommend", action="store_true", help="where discarding stops paying, and what it costs")
    choice.add_argument(
        "--target-fnmr",
        nargs="+",
        type=rate,
        default=[],
        metavar="RATE",
        help="false non-match rates to reach, 0 to 1 (default: half of that without discarding)",
    )
    choice.add_argument(
        "--cost-on",
        nargs="+",
        default=[],
        metavar="NAME=TABLE",
        help="count the costs on this table of the measure NAME (default: on --quality)",
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)
