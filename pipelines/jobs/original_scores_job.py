"""What original_scores does once its command line is read."""

import argparse
import logging
from collections.abc import Sequence

from fiqa_core import storage
from fiqa_core.devices import TorchGpus
from fiqa_core.images.preprocess import ChannelOrder
from fiqa_core.images.red_and_blue import RedAndBlue
from fiqa_core.networks.checkpoints import load_checkpoint, require_quality
from fiqa_core.scoring.original_layout import ListScores, read_list, score_list, score_place, write_scores
from fiqa_core.scoring.scorer import QualityScorer
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK
from pipelines.cli.log_format import report

_log = logging.getLogger("original_scores")
_SHOWN = 10


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # nothing is passed on
    """Score every dataset; those whose images can all be read get their file."""
    device = _device(arguments.gpu_id)
    lists = {dataset: read_list(arguments.data_dir, dataset) for dataset in arguments.datasets}
    scorer = _scorer(arguments, device)
    order = ChannelOrder.RGB if arguments.color_channel == "RGB" else ChannelOrder.BGR_FILES
    incomplete = False
    for dataset, paths in lists.items():
        scores = score_list(arguments.data_dir, paths, scorer, order)
        _warn_of_colours(dataset, scores.colours, arguments.color_channel)
        place = score_place(arguments.data_dir, dataset, arguments.score_file_name)
        if scores.problems:
            _log_problems(dataset, scores, place)
            incomplete = True
            continue
        write_scores(place, scores)
        report([f"written: {place} ({counted(len(paths), 'score')})"])
    return EXIT_INCOMPLETE if incomplete else EXIT_OK


def _device(gpu_id: int) -> str:
    if gpu_id == -1:
        return "cpu"
    count = TorchGpus().count()
    if gpu_id >= count:
        raise OptionError(
            f"--gpu_id {gpu_id}: there is no such GPU; torch sees {counted(count, 'GPU')} here. Check the driver and "
            "that torch is a CUDA build, or run with --gpu_id -1, on the CPU."
        )
    return f"cuda:{gpu_id}"


def _scorer(arguments: argparse.Namespace, device: str) -> QualityScorer:
    loaded = load_checkpoint(_model(arguments.model_path, arguments.model_id), embeddings=False)
    require_quality(loaded)
    kind = "vit_FC" if loaded.arch.startswith("vit") else loaded.arch
    if arguments.backbone not in (None, kind):
        raise OptionError(f"--backbone {arguments.backbone}: {loaded.uri} holds {loaded.arch}, which is {kind}")
    _log.info("network: %s, mode %s, sha256 %s", loaded.arch, loaded.mode, loaded.sha256[:16])
    return QualityScorer(loaded, device)


def _model(path: str, model_id: str) -> str:
    """The network's file. CR-FIQA names it by its id, ViT-FIQA calls it model.pt."""
    if not model_id:
        return path
    named = storage.join(path, f"{model_id}backbone.pth")
    if storage.stat(named) is None:
        raise OptionError(
            f"--model_id {model_id}: there is no {named}. Leave the option out for a folder with model.pt."
        )
    return named


def _log_problems(dataset: str, scores: ListScores, place: str) -> None:
    count = len(scores.problems)
    for problem in scores.problems[:_SHOWN]:
        _log.error("%s: %s", dataset, problem)
    more = f" ({count - _SHOWN:,} more are not named)" if count > _SHOWN else ""
    earlier = "; the file of an earlier run stays as it is" if storage.stat(place) is not None else ""
    _log.error(
        "%s: %s no score%s, so %s is not written%s. Mend them, or take them out of the list.",
        dataset,
        counted(count, "image has", "images have"),
        more,
        place,
        earlier,
    )


def _warn_of_colours(dataset: str, colours: RedAndBlue, channel: str) -> None:
    exchanged = colours.exchanged
    if exchanged is None or exchanged == (channel == "BGR"):
        return
    coloured = colours.red + colours.blue
    if exchanged:
        found, other = f"in {colours.blue} of {coloured} faces blue is stronger than red", "BGR"
    else:
        found, other = f"in {colours.red} of {coloured} faces red is stronger than blue, as in ordinary files", "RGB"
    _log.warning(
        "%s: %s, so with --color_channel %s the network sees blue faces and its scores mean less: --color_channel %s",
        dataset,
        found,
        channel,
        other,
    )
