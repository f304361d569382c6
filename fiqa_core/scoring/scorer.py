"""QualityScorer: a network on a device that scores batches of 112x112 RGB faces."""

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.first_look import FirstInputs
from fiqa_core.devices import resolve_device
from fiqa_core.models import EMBEDDED
from fiqa_core.networks.checkpoints import LoadedNetwork, load_checkpoint, require_quality
from fiqa_core.networks.exits import LAST, ExitError, Exits, Fuse, normal
from fiqa_core.networks.int8 import Int8UnavailableError, quantise_blocks
from fiqa_core.networks.vit_fiqa import ViTFIQA
from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores, joined
from fiqa_core.scoring.image_list import score_images
from fiqa_core.scoring.precision import dtype_of, keeps_half_weights, resolve_precision, set_matrix_precision

_log = logging.getLogger(__name__)

DEFAULT_BATCH = {"cpu": 8, "cuda": 256}


class QualityScorer(BatchScorer):
    """Scores aligned faces with a ViT-FIQA or CR-FIQA network; with `embeddings`, a network without quality head
    works too (its quality is None).

    Thread-safe: calls are served one at a time. A batch that does not fit the GPU is halved, and the
    smaller size is kept from then on.
    """

    reads_later = True

    def __init__(
        self,
        loaded: LoadedNetwork,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int | None = None,
        embeddings: bool = False,
        flip: bool = False,
        compiled: bool = False,
        exits: Exits = LAST,
    ) -> None:
        if not isinstance(loaded, LoadedNetwork):
            given = repr(loaded) if isinstance(loaded, str | os.PathLike) else "..."
            raise TypeError(
                f"QualityScorer takes a loaded network, found {type(loaded).__name__}; for a file or folder call "
                f"QualityScorer.from_checkpoint({given})"
            )
        if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
            raise ValueError(f"batch_size is {batch_size!r}; expected a whole number of at least 1, or None")
        if flip and not embeddings:
            raise ValueError("flip is about embeddings: it needs embeddings=True")
        if not embeddings:
            require_quality(loaded)
        self.loaded = loaded
        self.exits = exits_of(loaded, exits)
        self.device = resolve_device(device)
        precision = resolve_precision(precision, self.device.type, loaded.arch)
        if precision == "int8" and self.device.type != "cpu":
            raise Int8UnavailableError(f"precision int8 is for the CPU; on {self.device} use fp16 or bf16")
        self.precision = precision
        self.embeddings = embeddings
        self.flip = flip
        self.batch_size = batch_size or DEFAULT_BATCH[self.device.type]
        self._lock = threading.Lock()
        self._first = FirstInputs()
        self._network: Any = loaded.network.to(self.device).eval()
        if precision == "int8":
            # Embeddings need all blocks.
            quantise_blocks(self._network, 0 if embeddings else self.exits.exit)
        if self.device.type == "cuda":
            set_matrix_precision(precision)
        # Autocast, for networks whose weights stay as they are.
        self._autocast = None if keeps_half_weights(self._network, precision, self.device.type) else dtype_of(precision)
        self._outputs: Callable[[torch.Tensor], Outputs] = self._compute
        self.compiled = compiled
        if compiled:
            self._outputs = torch.compile(self._compute, dynamic=False)

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
        compiled: bool = False,
        exit: int = 0,
        fuse: Fuse = "none",
    ) -> "QualityScorer":
        """Load a checkpoint (file or folder, any store; by default the package's small one) and put it on a device.

        `heads`: attention heads of a ViT whose file does not name them and whose size is not one of the original's.
        `exit`: the block of a ViT, from 1, after which its score is read (0: the last one). `fuse`: `mean` or `depth`,
        an average over the scores after every block (`fiqa_core.networks.exits`).

        Raises:
            ExitError: the network has no such exit, or none at all.
            CheckpointError: the file is not a checkpoint of a known network, or not of the one named.
            DeviceError: the device is not there.
        """
        exits = Exits(exit, fuse)
        loaded = load_checkpoint(uri, arch, mode, embeddings, heads)
        return cls(loaded, device, precision, batch_size, embeddings, flip, compiled, exits)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Score uint8 RGB (B, 112, 112, 3). With `flip`, an embedding is followed by that of the mirror image: (B, 2D);
        quality is of the image as it is.
        """
        with self._lock:
            return joined(self._score_parts(pixels))

    def score(
        self, images: Iterable[Any], errors: Literal["raise", "nan"] = "raise", aligner: Aligner | None = None
    ) -> np.ndarray:
        """Quality, float32 (N,), of a list of paths, PIL images or uint8 RGB arrays (H, W, 3).

        `errors="nan"`: an image that cannot be used, or a path that cannot be read, has NaN for its quality, and a
        warning in the log says why; the others are scored. `aligner`: finds the face in each picture and aligns it;
        without one, pictures must be aligned crops, and a warning says if the first ones are not.

        Raises:
            ImageRejected: an image that cannot be used; the message says which (counted from 0) and why.
            OSError: a path that cannot be read.
            CheckpointError: the network has no quality head.
            TypeError: one image was given, not a list; or an item is not an image.
        """
        require_quality(self.loaded)
        return score_images(self, images, errors, aligner, self._first)

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

    def begin_batch(self, batch: FaceBatch) -> Callable[[], Scores]:
        """As `begin`."""
        return self.begin(batch.pixels)

    def begin(self, pixels: np.ndarray) -> Callable[[], Scores]:
        """Begin to score uint8 RGB (B, 112, 112, 3), B up to `batch_size`; what is returned waits for the `Scores`.

        On a GPU this returns at once, so the next batch is copied while this one is computed. `pixels` must not change
        until the scores are there. For one thread; a batch that does not fit is scored at once.
        """
        if len(pixels) > self.batch_size:  # the device ran out of memory before: score in parts of the smaller size
            return self._at_once(pixels)
        try:
            outputs = self._launched(pixels)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            return self._at_once(pixels)
        if self.device.type != "cuda":
            return functools.partial(_to_numpy, outputs)
        copies = Outputs(*(None if each is None else each.to("cpu", non_blocking=True) for each in outputs))
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record()

        def wait() -> Scores:
            event.synchronize()
            return _to_numpy(copies)

        return wait

    def _at_once(self, pixels: np.ndarray) -> Callable[[], Scores]:
        scores = self.score_pixels(pixels)
        return lambda: scores

    def _forward(self, pixels: np.ndarray) -> Scores:
        return _to_numpy(self._launched(pixels))

    @torch.inference_mode()
    def _launched(self, pixels: np.ndarray) -> "Outputs":
        images = torch.from_numpy(pixels).to(self.device, non_blocking=True)
        count = len(images)
        if self.compiled and count < self.batch_size:
            # It was compiled for one size; scores do not depend on what else is in the batch.
            images = torch.cat((images, images.new_zeros((self.batch_size - count, *images.shape[1:]))))
        outputs = self._outputs(images)
        return Outputs(*(None if each is None else each[:count] for each in outputs))

    def _compute(self, images: torch.Tensor) -> "Outputs":
        # The order of operations is the original's: (x / 255 - 0.5) / 0.5.
        x = images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5).contiguous()
        with torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None):
            return self._network_outputs(x)

    def _network_outputs(self, x: torch.Tensor) -> "Outputs":
        """What the network gives for its input, float32 (B, 3, 112, 112)."""
        asked = () if self.exits.is_last else (self.exits,)  # an IResNet has no exits to choose from
        if not self.embeddings:
            return Outputs(self._network.quality(x, *asked).float(), None)
        embedding, quality = self._network(x, *asked)
        if self.flip:
            embedding = torch.cat((embedding, self._network(x.flip(-1))[0]), dim=1)
        return Outputs(None if quality is None else quality.float().flatten(), embedding.float())


def exits_of(loaded: LoadedNetwork, exits: Exits) -> Exits:
    """The exits that a network has, under one name each: its last block's number is the ordinary score.

    Raises:
        ExitError: the network has no such exit, or is not a ViT.
    """
    if exits.is_last:
        return exits
    if not isinstance(loaded.network, ViTFIQA):
        raise ExitError(f"{loaded.uri}: exits and fusion exist for ViT networks only, and this is an {loaded.arch}")
    try:
        return normal(exits, loaded.network.config.depth)
    except ExitError as error:
        raise ExitError(f"{loaded.uri} ({loaded.arch}): {error}") from error


class Outputs(NamedTuple):
    """`Scores` as tensors on the device."""

    quality: torch.Tensor | None
    embedding: torch.Tensor | None


def _to_numpy(outputs: Outputs) -> Scores:
    return Scores(*(None if each is None else each.cpu().numpy() for each in outputs))
