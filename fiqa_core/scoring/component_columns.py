"""The columns of `--measures`: from the pixels, from the stored file, and from the landmarks of `--align`."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fiqa_core.alignment.components import landmark_components
from fiqa_core.images.compression import compression_quality
from fiqa_core.images.face_region import SIDE
from fiqa_core.scoring.stream import Row
from schemas.component_measures import LANDMARK_COMPONENTS, PIXEL_COMPONENTS


def component_columns(rows: Sequence[Row], aligned: bool) -> dict[str, pa.Array]:
    """Columns by name, float32; null for a row without image. `aligned`: with those of `LANDMARK_COMPONENTS`."""
    table = np.full((len(rows), len(PIXEL_COMPONENTS)), np.nan, np.float32)
    for place, row in enumerate(rows):
        if row.measures is not None:
            table[place] = row.measures
    columns: dict[str, np.ndarray] = dict(zip(PIXEL_COMPONENTS, table.T, strict=True))
    columns["blocking"] = np.where([_shows_blocks(row) for row in rows], columns["blocking"], np.nan)
    steps = np.array([row.quantisation for row in rows], np.float64)  # NaN for None
    columns["compression_quality"] = compression_quality(steps, columns["blocking"].astype(np.float64))
    if aligned:
        columns |= _of_landmarks(rows)
    return {name: pa.array(values, pa.float32(), from_pandas=True) for name, values in columns.items()}


def _shows_blocks(row: Row) -> bool:
    """Whether the pixels that were measured are the stored ones, so that blocks of 8x8 lie where they were coded."""
    return (row.width, row.height) == (SIDE, SIDE) and (row.face is None or not row.face.warped)


def _of_landmarks(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    places = [place for place, row in enumerate(rows) if row.face is not None]
    measured = landmark_components([row.face for row in rows if row.face is not None])
    columns = {name: np.full(len(rows), np.nan) for name in LANDMARK_COMPONENTS}
    for name, values in columns.items():
        values[places] = measured[name]
    return columns
