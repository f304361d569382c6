"""Template sets (IJB-B, IJB-C): a person is shown by several images and video frames at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.text_lines import blocks, tidy
from fiqa_core.storage import open_read

_ENTRIES_AT_ONCE = 4096
_EXPECTED = "Expected lines `image template media`, as in IJB-C's face_tid_mid.txt."


@dataclass(frozen=True)
class Templates:
    """Which images make up each template.

    Attributes:
        names: template ids, as the pair list names them.
        images: name of each entry's image. template: int (E,), place in `names` of each entry, never falling.
        media: int (E,), number of the entry's media (a photo, or a video of which it is a frame), never falling and
            different from those of other templates.
    """

    names: list[str]
    images: list[str]
    template: np.ndarray
    media: np.ndarray

    def only(self, wanted: Sequence[str]) -> "Templates":
        """Only these templates, so that the images of others are not read."""
        kept = pc.is_in(pa.array(self.names, pa.string()), pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
        entries = np.flatnonzero(kept[self.template])
        return Templates(
            [name for name, wants in zip(self.names, kept, strict=True) if wants],
            [self.images[entry] for entry in entries],
            (np.cumsum(kept) - 1)[self.template[entries]],
            self.media[entries],
        )

    def sums(self, rows_of: Callable[[slice], np.ndarray]) -> np.ndarray:
        """Sum of each template's media, float64 (T, D), not normalised.

        The embeddings of one media are averaged, the media are summed, and the sum is then L2-normalised (as for IJB-C
        in InsightFace's evaluation). A few thousand images at a time: all of them would be several GiB.

        Args:
            rows_of: floats (n, D), embeddings of a slice of the entries.
        """
        starts = np.append(_starts(self.template), len(self.template))
        parts: list[np.ndarray] = []
        first = 0
        while first < len(starts) - 1:
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + _ENTRIES_AT_ONCE, "right")) - 1)
            part = slice(int(starts[first]), int(starts[last]))
            media = _starts(self.media[part])
            counts = np.diff(np.append(media, part.stop - part.start))
            averages = np.add.reduceat(rows_of(part), media, dtype=np.float64) / counts[:, None]
            parts.append(np.add.reduceat(averages, _starts(self.template[part][media])))
            first = last
        return np.concatenate(parts)

    def qualities(self, of_images: np.ndarray) -> np.ndarray:
        """One quality a template, float64 (T,): the minimum over its images; higher = better."""
        return np.asarray(np.minimum.reduceat(of_images.astype(np.float64), _starts(self.template)))


def read_templates(url: str) -> Templates:
    """Read `image template media` lines (IJB-C's `face_tid_mid.txt`).

    Raises:
        EvaluationError: not such a file, or empty.
    """
    with open_read(url) as stream:
        lines = tidy(url, b"".join(blocks(url, stream)), 0)
    try:
        with pa.BufferReader(lines) as stream:
            table = pyarrow.csv.read_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=["image", "template", "media"]),
                pyarrow.csv.ParseOptions(delimiter=" ", quote_char=False),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(("image", "template", "media"), pa.string()), null_values=[]
                ),
            )
    except pa.ArrowInvalid as error:
        # Arrow's own message quotes the line.
        row = next((row for row, line in enumerate(lines.split(b"\n"), 1) if line and len(line.split()) != 3), None)
        place = f", line {row}" if row else ""
        raise EvaluationError(f"{url}{place}: no template list. {_EXPECTED}") from error
    if not table.num_rows:
        raise EvaluationError(f"{url}: holds no templates. {_EXPECTED}")
    template, media = (table[name].combine_chunks().dictionary_encode() for name in ("template", "media"))
    order = np.lexsort((media.indices.to_numpy(), template.indices.to_numpy()))
    of_template, of_media = template.indices.to_numpy()[order], media.indices.to_numpy()[order]
    # The same media may be in two templates; numbered together they are two.
    changes = np.append(True, (np.diff(of_template) != 0) | (np.diff(of_media) != 0))
    images = table["image"].take(pa.array(order)).to_pylist()
    return Templates(template.dictionary.to_pylist(), images, of_template, np.cumsum(changes) - 1)


def _starts(numbers: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(True, np.diff(numbers) != 0))
