"""Say what a network's scores mean: quality table + embeddings + labels or pairs -> a calibration file."""

import argparse
import logging
import sys
from collections.abc import Sequence

import numpy as np

from fiqa_core import storage
from fiqa_core.evaluation.balanced_pairs import balanced_pairs
from fiqa_core.evaluation.bootstrap import subjects_of
from fiqa_core.evaluation.calibrate import JudgedSet, calibration_file
from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.named import parse_named
from fiqa_core.evaluation.pairs import Pairs, read_pairs
from fiqa_core.evaluation.sources import Embeddings, Qualities, read_embeddings, read_qualities
from fiqa_core.networks.exits import mode_read_at
from fiqa_core.scoring.calibration import CalibrationError, parse_calibration
from fiqa_core.tables.whole_tables import whole_tables
from fiqa_core.wording import counted
from pipelines.cli.calibration_options import make_parser
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.errors import OptionError
from pipelines.cli.log_format import report
from pipelines.cli.parser import Parser, nearest
from pipelines.jobs.evaluation_sources import is_network

__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "make_parser", "run"]

_log = logging.getLogger("calibrate_scores")
_SHOWN = (0.0, 1.0, 5.0, 25.0, 50.0, 95.0)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = make_parser()

    def load() -> Body:
        return lambda arguments, rest: _run(arguments, rest, parser)

    return run_command(parser, argv, _log, load, "interrupted; nothing was written")


def _run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser) -> int:
    if rest:
        meant = nearest(rest[0], parser.proposals())
        raise OptionError(f"not an option: {' '.join(rest)}." + (f" Did you mean {meant}?" if meant else ""))
    output = storage.absolute(arguments.output)
    if storage.stat(output) is not None and not arguments.overwrite:
        raise CalibrationError(f"--output {arguments.output}: is there already. Give another name, or --overwrite.")
    judges = parse_named([arguments.embeddings], "--embeddings")
    if is_network(judges[0].path):
        raise CalibrationError(
            f"--embeddings {judges[0].path}: a network; embed the set with fiqa embed, and give its output"
        )
    network = _network_of(arguments.quality, arguments.allow_incomplete)
    quality = read_qualities(arguments.quality, arguments.allow_incomplete)
    embeddings = read_embeddings(judges[0].path, arguments.allow_incomplete)
    name = arguments.name or parse_named([arguments.quality], "--quality")[0].name
    judged = _judged(arguments, name, judges[0].name, quality, embeddings)
    data = calibration_file(judged, network, (name, judges[0].name), arguments.fmr, arguments.bootstrap, arguments.seed)
    storage.publish_alone(data, output)
    report(_lines(data, arguments.output, judged))
    return EXIT_OK


def _network_of(table: str, allow_incomplete: bool) -> dict[str, str]:
    settings = next((file.settings for file in whole_tables([table], allow_incomplete).files if file.settings), None)
    if settings is None:
        raise CalibrationError(
            f"--quality {table}: does not say which network its scores are of. Expected the output of fiqa score, "
            "fiqa embed or fiqa baselines."
        )
    network = {name: str(settings.get(name, "")) for name in ("arch", "mode", "checkpoint_sha256")}
    return network | {
        "mode": mode_read_at(network["mode"], int(settings.get("exit", 0)), str(settings.get("fuse", "none")))
    }


def _judged(
    arguments: argparse.Namespace, name: str, judge: str, quality: Qualities, embeddings: Embeddings
) -> JudgedSet:
    scored = ~(quality.index.keys.is_null().to_numpy(zero_copy_only=False) | (np.isnan(quality.values)))
    all_names = quality.index.keys.filter(scored).to_pylist()
    if not all_names:
        raise CalibrationError(f"--quality {arguments.quality}: no image has a score")
    pairs = read_pairs(arguments.pairs) if arguments.pairs else _labelled_pairs(arguments, quality, embeddings)
    dataset = Dataset(name, pairs, None, None)
    comparisons = dataset.compare([embeddings], judge, arguments.dissimilarity)
    scores = dataset.qualities(quality, name)
    subjects = subjects_of(pairs, dataset.labels([quality, embeddings]))
    if subjects.max() == 0:
        raise EvaluationError(f"{name}: all images show one subject; the band resamples subjects and needs two or more")
    return JudgedSet(pairs, comparisons, scores, subjects, quality.values[scored], all_names)


def _labelled_pairs(arguments: argparse.Namespace, quality: Qualities, embeddings: Embeddings) -> Pairs:
    source = quality if quality.labels is not None else embeddings
    if source.labels is None:
        raise CalibrationError("neither --quality nor --embeddings has labels: give --pairs, or score a labelled set")
    keys, labels = source.index.keys.to_pylist(), source.labels.to_pylist()
    known = [(key, label) for key, label in zip(keys, labels, strict=True) if key is not None and label is not None]
    names = [key for key, _ in known]
    rows = quality.index.find(names)
    vectors = embeddings.index.find(names)
    usable = [
        pair
        for pair, row, vector in zip(known, rows, vectors, strict=True)
        if row >= 0 <= vector and np.isfinite(quality.values[row]) and np.isfinite(embeddings.matrix[vector]).all()
    ]
    if left_out := len(known) - len(usable):
        _log.warning("%s without a score or an embedding left out", counted(left_out, "labelled image"))
    return balanced_pairs(
        [key for key, _ in usable], [label for _, label in usable], arguments.per_identity, arguments.seed
    )


def _lines(data: bytes, output: str, judged: JudgedSet) -> list[str]:
    made = parse_calibration(data, output)
    mated = int(judged.pairs.mated.sum())
    lines = [
        f"{made.set}, judge {made.judge}, FMR {made.fmr:g}: {counted(len(judged.all_quality), 'image')}, "
        f"{counted(mated, 'mated pair')}, {counted(len(judged.pairs) - mated, 'non-mated pair')}",
        f"{'percentile':>12}{'score':>12}{'predicted FNMR, %':>20}{'95 % band':>20}",
    ]
    for percentile in _SHOWN:
        score = float(np.quantile(judged.all_quality, percentile / 100))
        fnmr, low, high = (100 * float(np.interp(score, made.knots, side)) for side in (made.fnmr, made.low, made.high))
        lines.append(f"{percentile:>12g}{score:>12.4g}{fnmr:>20.3g}{f'{low:.3g} .. {high:.3g}':>20}")
    lines.append(f"written: {output}")
    lines.append(f"next: fiqa score --calibration {output} adds the columns percentile and predicted_fnmr")
    return lines


if __name__ == "__main__":
    sys.exit(run())
