"""Who the images of a dataset show: by a file of labels, or by the labels of a table; and pairs made of that."""

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.evaluation.label_pairs import pairs_of_labels, parse_label_pairs
from fiqa_core.evaluation.named import Named, for_dataset, parse_named
from fiqa_core.evaluation.pairs import Pairs
from fiqa_core.evaluation.sources import Embeddings, Labels, Qualities, read_labels
from fiqa_core.storage import stat
from fiqa_core.tables.columns import read_columns
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)


def labels_for(dataset: str, files: Sequence[str], key_column: str = "", label_column: str = "") -> list[Labels]:
    """The file of labels that is for a dataset, or for all; none where there is none.

    Args:
        files: texts `DATASET=FILE` or `FILE`. key_column, label_column: "" to find them by name.
    """
    named = parse_named(files, "--labels")
    own = [each.path for each in named if each.given and each.name == dataset]
    for_all = [each.path for each in named if not each.given]
    return [read_labels(path, key_column, label_column) for path in (*own, *for_all)[:1]]


def pairs_from_labels(named: Named, images: Qualities | Embeddings, labels: Sequence[Labels], seed: int) -> Pairs:
    """Pairs of the images of a table that have a label and a finite quality or embedding.

    Args:
        named: what `--pairs` says. images: the table; its own labels are used where `labels` is empty.

    Raises:
        EvaluationError: no such pairs can be made, or `--pairs` asks for them in another form.
    """
    wanted = parse_label_pairs(named.path)
    values = images.values if isinstance(images, Qualities) else images.matrix
    usable = pa.array(np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1))
    keys = images.index.keys.filter(usable)
    if labels:
        where, rows = labels[0].index.where, labels[0].index.find(keys)
        texts = labels[0].labels.take(pa.array(rows, mask=rows < 0))
    else:
        where = images.index.where
        texts = pa.nulls(len(keys), pa.string()) if images.labels is None else images.labels.filter(usable)
    pairs = pairs_of_labels(keys, texts, wanted, seed, where)
    mated = int(pairs.mated.sum())
    _log.info(
        "%s: %s mated and %s made from the labels of %s",
        named.name,
        f"{mated:,}",
        counted(len(pairs) - mated, "non-mated pair"),
        where,
    )
    return pairs


def groups_of(
    dataset: Dataset, group_by: Sequence[str], quality: Sequence[str], key_column: str, group_column: str
) -> pa.Array | None:
    """Group of each name of a dataset's pairs, text (null: not known); None where none was asked for.

    Args:
        group_by: texts `DATASET=FILE`, `FILE`, or a column of the first table in `quality` that is for this dataset.

    Raises:
        EvaluationError: of templates, or a file none of whose keys is in the pairs. TableError: a table without the
            column, or a file without such columns.
    """
    named = parse_named(group_by, "--group-by")
    own = [each for each in named if each.given and each.name == dataset.name] or [
        each for each in named if not each.given
    ]
    if not own:
        return None
    if dataset.templates is not None:
        raise EvaluationError(f"--group-by: {dataset.name} is of templates; groups are of images")
    given = own[0].path
    if stat(given) is not None:
        known: Labels = read_labels(given, key_column, group_column)
    else:
        tables = list(for_dataset(parse_named(quality, "--quality"), dataset.name).values())
        if not tables:
            raise EvaluationError(f"--group-by {given}: no such file, and {dataset.name} has no quality table")
        table = read_columns(tables[0], ["key", given], [], allow_incomplete=True)
        values = table[given].combine_chunks().cast(pa.string())
        known = Labels(KeyIndex(table["key"], tables[0]), values)
    rows = known.index.find(dataset.images)
    if not (rows >= 0).any():
        raise EvaluationError(f"--group-by {given}: none of its keys is an image of the pairs of {dataset.name}")
    return known.labels.take(pa.array(rows, mask=rows < 0))
