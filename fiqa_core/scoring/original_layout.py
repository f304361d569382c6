"""The folders that the original's scoring command reads and writes: a list of images in, a score file out."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.images.admission import ImageLimits, ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, prepare
from fiqa_core.images.red_and_blue import RedAndBlue
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.storage import absolute, in_flight, is_local, join, publish_alone, read_bytes

LISTS, SCORES, LIST = "quality_data", "quality_data_clean", "image_path_list.txt"
_READ_AT_ONCE = 4
_LOOKED_AT = 64
_LIMITS = ImageLimits(min_side=1)  # the original admits any size
_UTF8 = ("utf-8", "surrogateescape")  # a path may hold bytes that are not UTF-8; they are written as they were read


class OriginalLayoutError(FiqaError, ValueError):
    """A folder is not laid out as the original's; the message says what is missing."""


@dataclass
class ListScores:
    """What scoring a list gave.

    Attributes:
        paths: as listed. quality: float32 (N,), NaN for an image that has no score. problems: which image, and why it
            has none. colours: of the first images that were read.
    """

    paths: Sequence[str]
    quality: np.ndarray
    problems: list[str] = field(default_factory=list)
    colours: RedAndBlue = field(default_factory=RedAndBlue)


def list_place(data_dir: str, dataset: str) -> str:
    """Where the list of a dataset is."""
    return join(data_dir, LISTS, dataset, LIST)


def score_place(data_dir: str, dataset: str, name: str) -> str:
    """Where the score file of a dataset is; `name`: as `--score_file_name`, with or without `.txt`."""
    return join(data_dir, SCORES, dataset, f"{name.removesuffix('.txt')}_{dataset}.txt")


def read_list(data_dir: str, dataset: str) -> list[str]:
    """The paths of a dataset's list, as they stand there; empty lines are left out.

    Raises:
        OriginalLayoutError: no such list, or nothing in it.
    """
    place = list_place(data_dir, dataset)
    try:
        text = read_bytes(place).decode(*_UTF8)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OriginalLayoutError(
            f"{place}: no such file. Expected the list of the dataset's images: a path a line, relative to --data-dir."
        ) from error
    paths = [line.strip() for line in text.removeprefix("\ufeff").split("\n")]
    paths = [path for path in paths if path]
    if not paths:
        raise OriginalLayoutError(f"{place}: lists no images. Expected one path a line, relative to --data-dir.")
    return paths


def score_list(data_dir: str, paths: Sequence[str], scorer: BatchScorer, order: ChannelOrder) -> ListScores:
    """Score listed images in order; a few batches are in memory at a time.

    Raises:
        OSError: the store failed, so that nothing is known of the images.
    """
    found = ListScores(paths, np.full(len(paths), np.nan, np.float32))
    batch: list[np.ndarray] = []
    places: list[int] = []
    for place, loaded in enumerate(_loaded(data_dir, paths, order)):
        if isinstance(loaded, str):
            found.problems.append(f"{paths[place]}: {loaded}")
            continue
        if place < _LOOKED_AT:
            found.colours.add(loaded[:, :, ::-1] if order is ChannelOrder.BGR_FILES else loaded)
        batch.append(loaded)
        places.append(place)
        if len(batch) == scorer.batch_size:
            _score(batch, places, scorer, found)
            batch, places = [], []
    if batch:
        _score(batch, places, scorer, found)
    return found


def write_scores(place: str, scores: ListScores) -> None:
    """Publish lines `<path as listed> <score>` in place of an earlier file; readers see the old file or the new one.

    Raises:
        ValueError: an image has no score.
    """
    if scores.problems:
        raise ValueError(f"{place}: {len(scores.problems)} images have no score")
    lines = [f"{path} {quality!s}\n" for path, quality in zip(scores.paths, scores.quality, strict=True)]
    publish_alone("".join(lines).encode(*_UTF8), place)


def _loaded(data_dir: str, paths: Sequence[str], order: ChannelOrder) -> Iterator[np.ndarray | str]:
    """Network input of each image, uint8 (112, 112, 3), or why there is none."""

    def load(path: str) -> np.ndarray | str:
        try:
            return prepare(read_bytes(_place_of(data_dir, path)), _LIMITS, order).pixels
        except ImageRejected as error:
            return f"{error.status}: {error.message}"
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            return error.strerror or "no such file"

    return in_flight(paths, load, _READ_AT_ONCE)


def _place_of(data_dir: str, path: str) -> str:
    """A path of the list is relative to the data folder, unless it says itself where it is."""
    return path if "://" in path or (path.startswith("/") and is_local(data_dir)) else join(absolute(data_dir), path)


def _score(batch: Sequence[np.ndarray], places: Sequence[int], scorer: BatchScorer, found: ListScores) -> None:
    quality = scorer.score_pixels(np.stack(batch)).quality
    if quality is None:
        raise OriginalLayoutError("the network has no quality head, so it gives no scores")
    found.quality[places] = np.asarray(quality, np.float32).reshape(-1)
    for place in itertools.compress(places, ~np.isfinite(found.quality[places])):
        found.problems.append(f"{found.paths[place]}: the network's score is {found.quality[place]}")
