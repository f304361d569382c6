"""The quality measures of one dataset of an evaluation: tables, score files, and the length of embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.named import for_dataset, parse_named
from fiqa_core.evaluation.sources import Embeddings, Qualities
from fiqa_core.evaluation.study import ORACLE, RANDOM


class Sources(Protocol):
    """Gives qualities and embeddings by path; reads each only once."""

    def qualities(self, path: str) -> Qualities:
        """The quality table or score file at a path."""

    def embeddings(self, path: str, images: str = "") -> Embeddings:
        """The embeddings at a path; where a network lies there, those that it makes of `images`."""


class MeasureOptions(Protocol):
    """What of `EvaluationOptions` says which measures there are."""

    @property
    def quality(self) -> Sequence[str]:
        """Measures, `NAME=PATH` or `DATASET:NAME=PATH`."""

    @property
    def embedding_norm(self) -> bool:
        """Whether the length of each model's embeddings is a measure too."""

    @property
    def lower_is_better(self) -> Sequence[str]:
        """Measures to negate."""


@dataclass(frozen=True)
class Measures:
    """Quality measures of one dataset: `given` as they were named, `tables` all of them with higher = better."""

    given: Mapping[str, Qualities]
    tables: Mapping[str, Qualities]


def measures_of(
    dataset: str, models: Mapping[str, str], images: str, options: MeasureOptions, sources: Sources
) -> Measures:
    """The quality measures that are for a dataset."""
    paths = for_dataset(parse_named(options.quality, "--quality"), dataset)
    given = {method: sources.qualities(path) for method, path in paths.items()}
    tables = dict(given)
    if options.embedding_norm:
        norms = {f"norm-{model}": path for model, path in models.items()}
        if taken := sorted(set(norms) & set(given)):
            raise EvaluationError(f"--quality {taken[0]}=...: --embedding-norm gives a measure of that name")
        tables |= {method: _norms(sources.embeddings(path, images), method) for method, path in norms.items()}
    _refuse_names(list(tables), options.lower_is_better)
    if not models or not (tables or options.embedding_norm):
        raise EvaluationError(f"{dataset}: no {'--quality' if models else '--embeddings'} is for this dataset")
    lower = options.lower_is_better
    return Measures(given, {name: _negated(table) if name in lower else table for name, table in tables.items()})


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
