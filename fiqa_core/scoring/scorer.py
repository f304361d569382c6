"""QualityScorer: a network on a device that scores batches of 112x112 RGB faces."""

import logging
import os
import threading
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from fiqa_core.images.admission import ImageRejected
from fiqa_core.models import EMBEDDED
from fiqa_core.networks.checkpoints import LoadedNetwork, load_checkpoint, require_quality
from fiqa_core.networks.int8 import Int8UnavailableError, quantise_blocks
from fiqa_core.scoring.devices import resolve_device

_log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
DEFAULT_BATCH = {"cpu": 8, "cuda": 256}
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Scores(NamedTuple):
    """`quality` float32 (B,), higher = more useful, or None from a network without quality head; `embedding`
    float32 (B, D), or None if not asked for.
    """

    quality: np.ndarray | None
    embedding: np.ndarray | None


class QualityScorer:
    """Scores aligned faces with a ViT-FIQA or CR-FIQA network; with `embeddings`, a network without quality head
    serves too (its quality is None).

    Thread-safe: calls are served one at a time. A batch that does not fit the GPU is halved, and the
    smaller size is kept from then on.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int | None = None,
        embeddings: bool = False,
        flip: bool = False,
    ) -> None:
        if not isinstance(loaded, LoadedNetwork):
            given = repr(loaded) if isinstance(loaded, str | os.PathLike) else "..."
            raise TypeError(
                f"QualityScorer takes a loaded network, found {type(loaded).__name__}; for a file or folder call "
                f"QualityScorer.from_checkpoint({given})"
            )
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not known; expected one of {', '.join(PRECISIONS)}")
        if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
            raise ValueError(f"batch_size is {batch_size!r}; expected a whole number of at least 1, or None")
        if flip and not embeddings:
            raise ValueError("flip is about embeddings: it needs embeddings=True")
        if not embeddings:
            require_quality(loaded)
        self.loaded = loaded
        self.device = resolve_device(device)
        if precision == "int8" and self.device.type != "cpu":
            raise Int8UnavailableError(f"precision int8 is for the CPU; on {self.device} use fp16 or bf16")
        self.precision = precision
        self.embeddings = embeddings
        self.flip = flip
        self.batch_size = batch_size or DEFAULT_BATCH[self.device.type]
        self._lock = threading.Lock()
        self._network: Any = loaded.network.to(self.device).eval()
        if precision == "int8":
            quantise_blocks(self._network)
        if self.device.type == "cuda" and precision == "fp32":
            # fp32 means fp32: TF32 would change the scores in the third digit.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    @classmethod
    def from_checkpoint(
        cls,
        uri: str = EMBEDDED,
        arch: str | None = None,
        mode: str | None = None,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int | None = None,
        embeddings: bool = False,
        flip: bool = False,
        heads: int | None = None,
    ) -> "QualityScorer":
        """Load a checkpoint (file or folder, any store; by default the package's small one) and put it on a device.

        `heads`: attention heads of a ViT whose file does not name them and whose size is not one of the original's.

        Raises:
            CheckpointError: the file is no checkpoint of a known network, or not the one named.
            DeviceError: the device is not there.
        """
        loaded = load_checkpoint(uri, arch, mode, embeddings, heads)
        return cls(loaded, device, precision, batch_size, embeddings, flip)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Score uint8 RGB (B, 112, 112, 3). With `flip`, an embedding is followed by that of the mirror image: (B, 2D);
        quality is of the image as it is.
        """
        with self._lock:
            return joined(self._score_parts(pixels))

    def score(self, images: Iterable[Any], errors: Literal["raise", "nan"] = "raise") -> np.ndarray:
        """Quality, float32 (N,), of a list of paths, PIL images or uint8 RGB arrays (H, W, 3).

        `errors="nan"`: an image that cannot be used, or a path that cannot be read, has NaN for its quality, and a
        warning in the log says why; the others are scored.

        Raises:
            ImageRejected: an image that cannot be used; the message says which (counted from 0) and why.
            OSError: a path that cannot be read.
            CheckpointError: the network has no quality head.
            TypeError: one image was given, not a list; or an item is no image.
        """
        from fiqa_core.images.preprocess import from_image, is_one_image

        if is_one_image(images):
            raise TypeError("score() takes a list of images, and this is one image: give it as score([image])[0]")
        if errors not in ("raise", "nan"):
            raise ValueError(f"errors is {errors!r}; expected 'raise' or 'nan'")
        require_quality(self.loaded)
        qualities: list[float] = []
        batch: list[np.ndarray] = []
        places: list[int] = []

        def score_batch() -> None:
            found = self.score_pixels(np.stack(batch)).quality
            for place, quality in zip(places, np.asarray(found), strict=True):
                qualities[place] = quality
            batch.clear()
            places.clear()

        for number, image in enumerate(images):
            qualities.append(np.nan)
            try:
                batch.append(from_image(image))
                places.append(number)
            except ImageRejected as error:
                message = f"image {number}: {error.message}"
                if errors == "raise":
                    raise ImageRejected(error.status, message, error.width, error.height) from error
                _log.warning("%s", message)
            except OSError as error:
                if errors == "raise":
                    raise
                _log.warning("image %d: %s", number, error)
            except TypeError as error:
                raise TypeError(f"image {number}: {error}") from error
            if len(batch) == self.batch_size:
                score_batch()
        if batch:
            score_batch()
        return np.array(qualities, np.float32)

    def _score_parts(self, pixels: np.ndarray) -> list[Scores]:
        parts: list[Scores] = []
        start = 0
        while start < len(pixels):
            size = min(self.batch_size, len(pixels) - start)
            try:
                parts.append(self._forward(pixels[start : start + size]))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                self.batch_size = size // 2
                torch.cuda.empty_cache()
                _log.warning("out of GPU memory with %d images a batch; going on with %d", size, self.batch_size)
                continue
            start += size
        return parts

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> Scores:
        images = torch.from_numpy(pixels).to(self.device, non_blocking=True)
        # The order of operations is the original's: (x / 255 - 0.5) / 0.5.
        x = images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5).contiguous()
        dtype = _AUTOCAST.get(self.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            if not self.embeddings:
                return Scores(self._network.quality(x).float().cpu().numpy(), None)
            embedding, quality = self._network(x)
            if self.flip:
                embedding = torch.cat((embedding, self._network(x.flip(-1))[0]), dim=1)
        scores = None if quality is None else quality.float().flatten().cpu().numpy()
        return Scores(scores, embedding.float().cpu().numpy())


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of several batches as those of one."""
    if not parts:
        return Scores(np.empty(0, np.float32), None)
    qualities = [part.quality for part in parts if part.quality is not None]
    vectors = [part.embedding for part in parts if part.embedding is not None]
    return Scores(np.concatenate(qualities) if qualities else None, np.concatenate(vectors) if vectors else None)
