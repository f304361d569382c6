"""Template sets (IJB-B, IJB-C): a person is shown by several images and video frames at once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.storage import open_read


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

    def embeddings(self, of_images: np.ndarray) -> np.ndarray:
        """One embedding a template, float64 (T, D), of length 1.

        The embeddings of one media are averaged, the media are summed, the sum is L2-normalised (as for IJB-C in
        InsightFace's evaluation). One that is zero stays zero, and is refused where it is compared.

        Args:
            of_images: floats (E, D), of each entry.
        """
        media_starts = _starts(self.media)
        counts = np.diff(np.append(media_starts, len(self.media)))
        averages = np.add.reduceat(of_images, media_starts, dtype=np.float64) / counts[:, None]
        sums = np.add.reduceat(averages, _starts(self.template[media_starts]))
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.asarray(sums / np.where(norms > 0, norms, 1))

    def qualities(self, of_images: np.ndarray) -> np.ndarray:
        """One quality a template, float64 (T,): the minimum over its images; higher = better."""
        return np.asarray(np.minimum.reduceat(of_images.astype(np.float64), _starts(self.template)))


def read_templates(url: str) -> Templates:
    """Read `image template media` lines (IJB-C's `face_tid_mid.txt`).

    Raises:
        EvaluationError: not such a file, or empty.
    """
    try:
        with open_read(url) as stream:
            table = pyarrow.csv.read_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=["image", "template", "media"]),
                pyarrow.csv.ParseOptions(delimiter=" ", quote_char=False),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(("image", "template", "media"), pa.string()), null_values=[]
                ),
            )
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(
            f"{url}: no template list ({reason}). Expected lines `image template media`, as in IJB-C's "
            "face_tid_mid.txt."
        ) from error
    template, media = (table[name].combine_chunks().dictionary_encode() for name in ("template", "media"))
    order = np.lexsort((media.indices.to_numpy(), template.indices.to_numpy()))
    of_template, of_media = template.indices.to_numpy()[order], media.indices.to_numpy()[order]
    # The same media may be in two templates; numbered together they are two.
    changes = np.append(True, (np.diff(of_template) != 0) | (np.diff(of_media) != 0))
    images = table["image"].take(pa.array(order)).to_pylist()
    return Templates(template.dictionary.to_pylist(), images, of_template, np.cumsum(changes) - 1)


def _starts(numbers: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(True, np.diff(numbers) != 0))
