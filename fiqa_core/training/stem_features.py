"""What the frozen layers of a stem give for every image of a teacher's pool, made once.

They are the same in every epoch, and most of the work: training then costs what the layers after them cost. Each part
of the pool has a file `stem-DIGEST.npy`, float16 (M, side, side, channels), written whole; the digest is of the layers'
weights. The images are those of the pool as they are, so this does not go with an augmentation of batches.
"""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.npy import map_npy
from fiqa_core.training.data import network_input
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.pool import Pool
from fiqa_core.training.pool_pixels import PoolPixels

_log = logging.getLogger(__name__)
_IMAGES_AT_ONCE = 32


def stem_features(
    pool: Pool, stem: ConvStem, frozen: int, progress: Callable[[int, int], None] | None = None
) -> PoolPixels:
    """The features of a pool's rows, made now where they are missing.

    Args:
        progress: called with the parts done and all parts, after each part.

    Raises:
        TrainingError: the pool is not on a disk, or its disk is full.
    """
    name = f"stem-{_digest(stem, frozen)}.npy"
    files = []
    for done, pixels in enumerate(pool.parts, start=1):
        if not isinstance(pixels, np.memmap) or pixels.filename is None:
            raise TrainingError("features of frozen layers are kept beside a pool on a disk; this one is in memory")
        file = Path(pixels.filename).parent / name
        if not file.exists():
            _write(file, pixels, stem, frozen)
        files.append(map_npy(str(file)))
        if progress:
            progress(done, len(pool.parts))
    return PoolPixels(tuple(files), pool.firsts, pool.chosen)


def _digest(stem: ConvStem, frozen: int) -> str:
    weights = sha256()
    for name, tensor in stem.stem[:frozen].state_dict().items():
        weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return weights.hexdigest()[:16]


@torch.inference_mode()
def _write(file: Path, pixels: np.ndarray, stem: ConvStem, frozen: int) -> None:
    unfinished = file.with_suffix(".tmp")
    made: np.memmap | None = None
    try:
        for start in range(0, len(pixels), _IMAGES_AT_ONCE):
            faces = network_input(torch.from_numpy(np.array(pixels[start : start + _IMAGES_AT_ONCE])))
            found = stem.before(frozen, faces).permute(0, 2, 3, 1).half().numpy()
            if made is None:
                made = np.lib.format.open_memmap(unfinished, "w+", np.float16, (len(pixels), *found.shape[1:]))
            made[start : start + len(found)] = found
        if made is not None:
            made.flush()
        unfinished.rename(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise TrainingError(f"{file}: the features of a pool cannot be written ({error.strerror or error})") from error
