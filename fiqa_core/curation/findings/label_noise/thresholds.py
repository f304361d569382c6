"""Thresholds of label noise: given, or found from the embeddings of this dataset."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from fiqa_core.curation.findings.label_noise.centre_task import own_file, read_centres, read_columns
from fiqa_core.curation.findings.partition_embeddings import sample_file
from fiqa_core.curation.findings.settings import LabelNoiseSettings
from fiqa_core.curation.findings.similarity import as_float
from fiqa_core.curation.findings.spill_files import read_spilled
from fiqa_core.curation.findings.tasks import Counts
from fiqa_core.storage import join, publish_bytes, read_bytes
from fiqa_core.tables.quality_files import TableError

_IMAGES, _CENTRES = 2048, 16_384
# Share of images that clearly match another identity by chance (wrong merges: one among all pairs of identities).
_CHANCE_MATCH = 0.01
_MATCH_OWN_QUANTILE, _MERGE_OWN_QUANTILE = 0.02, 0.05
# At most this share of the images that are not suspects is compared with other centres too.
_DOUBTED = 0.05


@dataclass(frozen=True)
class Thresholds:
    """Cosines (higher = more alike); NaN if the dataset has too few identities to find one.

    Attributes:
        suspect: an image below it may have a wrong label. sure: below it the label is wrong even if no other identity
            is nearer. doubt: up to here images are compared with other centres too (equals a `suspect` that was given).
        match, merge, split: see `LabelNoiseSettings`. poor: below this quality, distance alone is no evidence.
        impostor_mean, impostor_deviation: of the cosines of images to centres of other identities.
    """

    suspect: float
    doubt: float
    sure: float
    match: float
    merge: float
    split: float
    poor: float
    impostor_mean: float
    impostor_deviation: float


@dataclass(frozen=True)
class ThresholdTask:
    """A sample of images against a sample of centres -> `thresholds.json`."""

    output: str
    work: str
    partitions: int
    spills: int
    settings: LabelNoiseSettings
    poor: float

    @property
    def name(self) -> str:
        return "thresholds"

    def run(self) -> Counts:
        """Find the thresholds and publish them."""
        codes, centres, identities = self._centres()
        rid, own = self._own()
        impostors = self._impostors(rid, own, codes, centres)
        found = find_thresholds(self.settings, own, impostors, _between(centres), identities, self.poor)
        publish_bytes(json.dumps(asdict(found)).encode(), self.output, threshold_file(self.work))
        return {}

    def _centres(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Every k-th centre, and the number of all centres."""
        pieces = [codes for codes, _ in read_centres(self.work, 0, self.partitions)]
        total = sum(map(len, pieces))
        step = max(1, -(-total // _CENTRES))
        some = [(codes[::step], values[::step]) for codes, values in read_centres(self.work, 0, self.partitions)]
        if not some:
            return np.empty(0, np.int64), np.empty((0, 1), np.float16), 0
        return np.concatenate([codes for codes, _ in some]), np.concatenate([values for _, values in some]), total

    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        tables = [read_columns(own_file(self.work, number), ["rid", "cosine"]) for number in range(self.partitions)]
        rid = np.concatenate([table["rid"] for table in tables])
        cosine = np.concatenate([table["cosine"] for table in tables])
        order = np.argsort(rid)
        return rid[order], cosine[order]

    def _impostors(self, rid: np.ndarray, own: np.ndarray, codes: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """Cosines of images that agree with their label to the centres of other identities."""
        median = float(np.nanmedian(own)) if np.isfinite(own).any() else np.nan
        sampled, label, vectors = self._sample()
        if not len(sampled) or not len(codes):
            return np.empty(0, np.float32)
        agrees = own[np.searchsorted(rid, sampled)] >= 0.5 * median
        at = np.flatnonzero(agrees)
        at = at[:: max(1, -(-len(at) // _IMAGES))]
        products = (as_float(vectors[at]) @ as_float(centres).T).numpy()
        return np.asarray(products[label[at][:, None] != codes[None, :]])

    def _sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        some = [
            (rows.rid[judged], rows.tag[judged, 0], rows.vector[judged])
            for number in range(self.spills)
            for rows in read_spilled([sample_file(self.work, number)], None, 1)
            for judged in [rows.tag[:, 0] >= 0]
        ]
        if not some:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 1), np.float16)
        rid, label, vector = (np.concatenate(list(parts)) for parts in zip(*some, strict=True))
        order = np.argsort(rid)
        return rid[order], label[order], vector[order]


def find_thresholds(
    settings: LabelNoiseSettings,
    own: np.ndarray,
    impostors: np.ndarray,
    between: np.ndarray,
    identities: int,
    poor: float,
) -> Thresholds:
    """Thresholds from samples of cosines.

    Args:
        own: of images to their own centre (NaN: none). impostors: of images to the centres of other identities.
        between: of centres to other centres. identities: their number. poor: quality below which an image is poor.
    """
    own = own[np.isfinite(own)]
    given = next(_given(settings, own), None)
    suspect = _quantile(impostors, settings.impostor_quantile) if given is None else given
    sure = min(suspect, _quantile(impostors, settings.sure_quantile)) if len(impostors) else suspect
    agreeing = own[own >= suspect]
    mean, deviation = (float(impostors.mean()), float(impostors.std())) if len(impostors) else (np.nan, np.nan)
    match = settings.match_cosine
    if match is None:
        match = max(_quantile(agreeing, _MATCH_OWN_QUANTILE), _by_chance(impostors, _CHANCE_MATCH / max(identities, 1)))
    merge = settings.merge_cosine
    if merge is None:
        merge = max(_quantile(agreeing, _MERGE_OWN_QUANTILE), _by_chance(between, 1 / max(identities, 2) ** 2))
    split = suspect if settings.split_cosine is None else settings.split_cosine
    doubt = suspect
    if given is None and len(agreeing) and match > suspect:
        doubt = min(match, _quantile(agreeing, _DOUBTED))
    return Thresholds(suspect, doubt, sure, match, merge, split, poor, mean, deviation)


def threshold_file(work: str) -> str:
    """URL of the thresholds."""
    return join(work, "thresholds.json")


def read_thresholds(work: str) -> Thresholds:
    """The published thresholds."""
    url = threshold_file(work)
    try:
        return Thresholds(**{name: float(value) for name, value in json.loads(read_bytes(url)).items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"{url}: damaged ({error}). Remove its folder, and run again.") from error


def _given(settings: LabelNoiseSettings, own: np.ndarray) -> Iterator[float]:
    if settings.cosine is not None:
        yield settings.cosine
    if settings.own_quantile is not None:
        yield _quantile(own, settings.own_quantile)


def _quantile(values: np.ndarray, quantile: float) -> float:
    return float(np.quantile(values, quantile)) if len(values) else float("nan")


def _by_chance(values: np.ndarray, probability: float) -> float:
    """The cosine that unrelated pairs exceed with this probability, if their tail is that of a normal distribution."""
    if not len(values):
        return float("nan")
    return min(0.99, float(values.mean()) + float(values.std()) * NormalDist().inv_cdf(1 - probability))


def _between(centres: np.ndarray) -> np.ndarray:
    """Cosines of some centres with others."""
    at = np.arange(len(centres))[:: max(1, -(-len(centres) // _IMAGES))]
    products = (as_float(centres[at]) @ as_float(centres).T).numpy()
    return np.asarray(products[at[:, None] != np.arange(len(centres))[None, :]])
