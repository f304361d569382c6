"""One dataset of an evaluation: its pairs, and the qualities, embeddings and labels of their images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.comparisons import Comparisons, dissimilarities
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.pairs import Pairs, read_pairs
from fiqa_core.evaluation.sources import Embeddings, Labelled, Qualities
from fiqa_core.evaluation.templates import Templates, read_templates
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
UNSCORED = ("error", "worst")


@dataclass(frozen=True)
class Dataset:
    """Pairs of images, or of templates (then `entries` is the template number of each name of `pairs`)."""

    name: str
    pairs: Pairs
    templates: Templates | None
    entries: np.ndarray | None

    @classmethod
    def read(cls, name: str, pairs_url: str, templates_url: str | None = None) -> "Dataset":
        """Read a pair list and, for a template set, its `image template media` list.

        Raises:
            EvaluationError: the files have another format, or a pair names a template that is not in the list.
        """
        return cls.of(name, read_pairs(pairs_url), pairs_url, templates_url)

    @classmethod
    def of(cls, name: str, pairs: Pairs, pairs_url: str, templates_url: str | None = None) -> "Dataset":
        """As `read`, of pairs that are known; `pairs_url` says where from."""
        if pairs.mated.all() or not pairs.mated.any():
            kind = "non-mated (`a b 0`)" if pairs.mated.any() else "mated (`a b 1`)"
            raise EvaluationError(f"{pairs_url}: has no {kind} pair; error rates need both kinds")
        _warn_of_oddities(pairs, pairs_url)
        if templates_url is None:
            return cls(name, pairs, None, None)
        templates = read_templates(templates_url)
        places = {template: place for place, template in enumerate(templates.names)}
        missing = [template for template in pairs.names if template not in places]
        if missing:
            raise EvaluationError(
                f"{pairs_url}: {len(missing):,} of its templates are not in {templates_url}, the first is "
                f"{missing[0]!r}"
            )
        templates = templates.only(pairs.names)
        places = {template: place for place, template in enumerate(templates.names)}
        return cls(name, pairs, templates, np.array([places[template] for template in pairs.names]))

    @property
    def images(self) -> list[str]:
        """Names of the images whose quality and embedding are needed."""
        return self.pairs.names if self.templates is None else self.templates.images

    def qualities(self, source: Qualities, method: str, unscored: str = "error") -> np.ndarray:
        """Quality of each name of the pair list, float64 (I,); a template has the quality of its worst image.

        Args:
            unscored: how an image without a quality is treated: `error`, or `worst` (discarded first).

        Raises:
            EvaluationError: an image that the source does not have, or that has no quality.
        """
        values = source.of(self.images, f"{self.name}, quality {method}")
        lacking = np.flatnonzero(np.isnan(values))
        if len(lacking):
            if unscored == "error":
                raise EvaluationError(
                    f"{self.name}, quality {method}: "
                    f"{counted(len(lacking), 'image of the pairs has', 'images of the pairs have')} no quality, the "
                    f"first is {self.images[int(lacking[0])]!r}. Leave their pairs out, or count them as the worst "
                    "with --unscored worst."
                )
            values = np.where(np.isnan(values), -np.inf, values)
        if self.templates is None:
            return values
        return np.asarray(self.templates.qualities(values)[self.entries])

    def compare(self, models: Sequence[Embeddings], fr_model: str, score: str) -> Comparisons:
        """All comparisons by one face recognition model.

        Args:
            models: its embeddings; those of a second table (of the mirrored images) are appended to the first's.

        Raises:
            EvaluationError: an image without an embedding, or with one of zeros.
        """
        asked_by = f"{self.name}, embeddings {fr_model}"
        parts = [self._embeddings(model, asked_by) for model in models]
        matrix = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        zero = np.flatnonzero(~matrix.any(axis=1))
        if len(zero):
            raise EvaluationError(
                f"{asked_by}: {counted(len(zero), 'embedding is', 'embeddings are')} all zeros, the first is that of "
                f"{self.pairs.names[int(zero[0])]!r}; they have no direction to compare. Leave their pairs out, "
                "or embed the images again."
            )
        values = dissimilarities(matrix, self.pairs.a, self.pairs.b, score)
        return Comparisons.of(values, self.pairs.mated)

    def _embeddings(self, model: Embeddings, asked_by: str) -> np.ndarray:
        rows = model.rows(self.images, asked_by)
        if self.templates is None:
            return np.asarray(model.matrix[rows])
        return np.asarray(self.templates.sums(lambda part: model.matrix[rows[part]])[self.entries])

    def labels(self, sources: Sequence[Labelled]) -> list[str | None] | None:
        """Identity of each name of the pair list, from the first source with labels for all; None without one."""
        for source in sources:
            if source.labels is None:
                continue
            if _is_constant(source.labels) and len(self.images) > 1:
                _log.warning(
                    "%s: the labels of %s are not used: all are %r, so they name a folder and not who is shown",
                    self.name,
                    source.index.where,
                    source.labels[0].as_py(),
                )
                continue
            rows = source.index.find(self.images)
            missing = int((rows < 0).sum())
            found = source.labels.take(pa.array(rows, mask=rows < 0)).to_pylist()
            if None not in found:
                return found if self.templates is None else self._of_templates(found)
            _log.warning(
                "%s: the labels of %s are not used: %d of %s none (not in it at all: %d)",
                self.name,
                source.index.where,
                found.count(None),
                counted(len(found), "image has", "images have"),
                missing,
            )
        return None

    def _of_templates(self, labels: list[str | None]) -> list[str | None]:
        if self.templates is None or self.entries is None:
            raise AssertionError("only a template set has templates")
        first = np.searchsorted(self.templates.template, self.entries, "left")
        return [labels[int(place)] for place in first]

    def warn_of_contradictions(self, subjects: np.ndarray) -> int:
        """Log how many pairs the labels contradict; the pair list is believed."""
        same = subjects[self.pairs.a] == subjects[self.pairs.b]
        count = int((same != self.pairs.mated).sum())
        if count:
            _log.warning(
                "%s: the labels contradict %d of %s (mated with two labels, or non-mated with one); the pair "
                "list is believed",
                self.name,
                count,
                counted(len(self.pairs), "pair"),
            )
        return count


def _warn_of_oddities(pairs: Pairs, url: str) -> None:
    if alone := pairs.self_pairs():
        _log.warning(
            "%s: %s of an image with itself, and counted like any other", url, counted(alone, "pair is", "pairs are")
        )
    if repeated := pairs.repeated():
        _log.warning("%s: %s in the list already, and counted as often", url, counted(repeated, "pair is", "pairs are"))


def _is_constant(labels: pa.Array) -> bool:
    """Whether all rows of a table have one label, as where all images of a benchmark lie in one folder."""
    return len(labels) > 1 and not labels.null_count and len(labels.unique()) == 1
