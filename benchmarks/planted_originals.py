"""How often the original stays where an altered copy of it is in the dataset, listed before it or after it.

Part of `benchmarks.planted_noise` (--originals): every kind has 24 copies of faces of their own a seed. The first
three kinds are the 72 pairs that the filter can decide; the others show what it makes of changes that leave no trace
in the header.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.planted_faces import Face, Network, jpeg
from benchmarks.planted_noise import searched
from fiqa_core import QualityScorer
from fiqa_core.images.preprocess import prepare

EACH = 24
Change = Callable[[Image.Image, np.random.Generator], bytes]


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _brighter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(random.uniform(1.05, 1.25)))


def _scaled(image: Image.Image, low: int, high: int, random: np.random.Generator) -> Image.Image:
    side = int(random.integers(low, high))
    return image.resize((side, side), Image.Resampling.BICUBIC)


def _coarser(random: np.random.Generator) -> int:
    return int(random.choice([60, 75, 85]))


# The stored images of LFW are JPEGs of quality 90.
KINDS: dict[str, Change] = {
    "recompressed": lambda image, random: jpeg(image, _coarser(random)),
    "mirrored, recompressed": lambda image, random: jpeg(_mirrored(image), _coarser(random)),
    "brightened, recompressed": lambda image, random: jpeg(_brighter(image, random), _coarser(random)),
    "downscaled": lambda image, random: jpeg(_scaled(image, 72, 100, random)),
    "upscaled": lambda image, random: jpeg(_scaled(image, 128, 225, random), _coarser(random)),
    "mirrored, same quality": lambda image, _: jpeg(_mirrored(image)),
    "brightened, same quality": lambda image, random: jpeg(_brighter(image, random)),
    "mirrored, finer": lambda image, _: jpeg(_mirrored(image), 95),
}
DECIDED = tuple(KINDS)[:3]


def altered_copies(faces: Sequence[Face], random: np.random.Generator, each: int = EACH) -> list[Face]:
    """Copies of each kind, every one of another face."""
    chosen = random.permutation(len(faces))[: each * len(KINDS)].tolist()
    copies = []
    for number, place in enumerate(chosen):
        kind = list(KINDS)[number // each]
        image = Image.fromarray(prepare(faces[place].data).pixels)
        copies.append(Face(KINDS[kind](image, random), faces[place].person, place, kind))
    return copies


def originals_kept(
    faces: Sequence[Face], copies: Sequence[Face], quality: np.ndarray, embeddings: np.ndarray, copies_first: bool
) -> Counter[str]:
    """By kind: copies that go while their original stays, of a filter that drops near duplicates.

    Args:
        quality, embeddings: of `faces`, then of `copies`.
    """
    rows = np.arange(len(faces) + len(copies))
    order = np.roll(rows, len(copies)) if copies_first else rows
    every = [*faces, *copies]
    labels = [every[row].person for row in order]
    found = searched([every[row] for row in order], labels, quality[order], embeddings[order], decide=True)
    reason = np.empty(len(rows), object)
    reason[order] = found.reason
    return Counter(
        copy.kind
        for place, copy in enumerate(copies, len(faces))
        if reason[place] == "duplicate_near" and not reason[copy.original]
    )


def count_originals(faces: Sequence[Face], models: Path, seeds: int) -> None:
    """Print the table: both networks of quality, copies before and behind the originals."""
    embed, lightqnet, own = Network(models, "edgeface"), Network(models, "quality"), QualityScorer.from_checkpoint()
    scorers: dict[str, Callable[[Sequence[Face]], np.ndarray]] = {
        "embedded": lambda some: own.score([face.data for face in some])[:, None],
        "LightQNet": lightqnet,
    }
    embeddings = embed(faces)
    of_faces = {name: score(faces) for name, score in scorers.items()}
    print(
        f"| quality | seed | copies | {' | '.join(KINDS)} | of the {EACH * len(DECIDED)} |",
        f"|{'---|' * (len(KINDS) + 4)}",
        sep="\n",
    )
    for seed in range(seeds):
        copies = altered_copies(faces, np.random.default_rng(seed))
        both = np.concatenate([embeddings, embed(copies)])
        for name, score in scorers.items():
            quality = np.concatenate([of_faces[name], score(copies)])
            for first in (True, False):
                kept = originals_kept(faces, copies, quality, both, first)
                cells = [str(kept[kind]) for kind in KINDS]
                total = sum(kept[kind] for kind in DECIDED)
                print(
                    f"| {name} | {seed} | {'first' if first else 'last'} | {' | '.join(cells)} | {total} |", flush=True
                )
