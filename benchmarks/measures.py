"""Component measures (`--measures`): what they cost, whether each moves as its name says, and whether they are OFIQ's.

python -m benchmarks.measures [--shards FOLDER] [--faces 400] [--ofiqpy FOLDER]

CPU time is that of a batch of 64 random images, and of 64 faces, the fastest of 20 rounds each. --ofiqpy: where PyPI's
`ofiqpy` lies (`pip install --no-deps --target FOLDER ofiqpy==0.2.2`), a Python port of OFIQ 1.1.0; its measures run on
the same pixels and the same region, without its networks.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards
from benchmarks.network import spearman
from benchmarks.ofiq import compare
from fiqa_core.images.components import component_measures
from fiqa_core.images.compression import compression_quality
from fiqa_core.images.degradations import DEGRADATIONS, recompressed
from schemas.component_measures import PIXEL_COMPONENTS

IMAGES = 64
ROUNDS = 20
SEVERITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
KERNELS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "Lanczos": cv2.INTER_LANCZOS4,
}
# Degradation, the measure that should show it, and whether that rises with it.
LADDERS = (
    ("blur", "sharpness", False),
    ("blur", "resolution", False),
    ("motion_blur", "sharpness", False),
    ("low_resolution", "resolution", False),
    ("noise", "noise", True),
    ("jpeg", "compression_quality", False),
    ("darkness", "luminance_mean", False),
    ("darkness", "under_exposure_prevention", True),
    ("overexposure", "over_exposure_prevention", True),
    ("low_contrast", "contrast", False),
    ("low_contrast", "luminance_variance", False),
    ("low_contrast", "dynamic_range", False),
    ("half_lit", "illumination_uniformity", False),
    ("half_lit", "side_light", True),
    ("faded", "colourfulness", False),
    ("faded", "natural_colour", True),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--ofiqpy", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    faces = pixels(shards(arguments.shards, "test-*.tar"), arguments.faces)
    random = np.random.default_rng(0).integers(0, 256, (IMAGES, 112, 112, 3), dtype=np.uint8)
    print(f"{cost(random):.3f} ms of CPU time a random image, {cost(faces[:IMAGES]):.3f} ms a face\n")
    print_ladders(faces)
    print_enlarged(faces)
    print_recompressed(faces)
    print_colours_and_sides(faces)
    if arguments.ofiqpy is not None:
        compare(faces[:100], arguments.ofiqpy)


def cost(images: np.ndarray) -> float:
    """Milliseconds of CPU time an image."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        component_measures(images)
        best = min(best, time.thread_time() - started)
    return 1000 * best / len(images)


def measured(faces: np.ndarray) -> dict[str, np.ndarray]:
    """Values by measure, float64 (N,), of faces that are stored without loss."""
    found = dict(zip(PIXEL_COMPONENTS, component_measures(faces).T.astype(np.float64), strict=True))
    found["compression_quality"] = compression_quality(np.zeros(len(faces)), found["blocking"])
    return found


def half_lit(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """One side in the shade: down to 5 % of the light."""
    side = 1 / (1 + np.exp((np.arange(face.shape[1]) - 56) / 4))
    return np.asarray(np.rint(face * (1 - 0.95 * severity * side)[:, None])).astype(np.uint8)


def faded(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Towards grey."""
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(face, 1 - severity, grey, severity, 0))


def print_ladders(faces: np.ndarray) -> None:
    """Rank correlation of the severity with the measure, of each face by itself, for falling measures negated."""
    print("| degradation | measure | Spearman, mean | faces at 0.9 or more |\n|---|---|---|---|")
    rungs: dict[str, list[dict[str, np.ndarray]]] = {}
    for name, measure, rises in LADDERS:
        degrade = DEGRADATIONS.get(name) or {"half_lit": half_lit, "faded": faded}[name]
        if name not in rungs:
            rungs[name] = [measured(faces)] + [measured(degraded(faces, degrade, each)) for each in SEVERITIES[1:]]
        values = np.stack([rung[measure] for rung in rungs[name]], axis=1) * (1 if rises else -1)
        each = np.array([spearman(row, np.array(SEVERITIES)) if np.ptp(row) else 0.0 for row in values])
        print(
            f"| {name} | {measure} {'rises' if rises else 'falls'} | {each.mean():.3f} | {(each >= 0.9).mean():.0%} |"
        )
    print()


def degraded(faces: np.ndarray, degrade: Callable[..., np.ndarray], severity: float) -> np.ndarray:
    """Each face with random numbers of its own, the same at every severity."""
    return np.stack([degrade(face, severity, np.random.default_rng(n)) for n, face in enumerate(faces)])


def print_enlarged(faces: np.ndarray) -> None:
    """How well `resolution` tells faces that were enlarged to 112 pixels from natural ones."""
    natural = measured(faces)["resolution"]
    print(
        f"resolution of natural faces: median {np.median(natural):.0f}, 5th percentile {np.percentile(natural, 5):.0f}"
    )
    print(
        "| enlarged from | kernel | median | AUC | AUC, then JPEG 90 | AUC, then JPEG 75 |\n|---|---|---|---|---|---|"
    )
    for side in (84, 56, 28):
        for name, kernel in KERNELS.items():
            larger = np.stack([enlarged(face, side, kernel) for face in faces])
            plain = measured(larger)["resolution"]
            after = [measured(np.stack([recompressed(f, q) for f in larger]))["resolution"] for q in (90, 75)]
            areas = " | ".join(f"{auc(found, natural):.3f}" for found in (plain, *after))
            print(f"| {side} | {name} | {np.median(plain):.0f} | {areas} |")
    print()


def enlarged(face: np.ndarray, side: int, kernel: int) -> np.ndarray:
    """Sampled down to `side` by area, and up again."""
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (112, 112), interpolation=kernel))


def print_recompressed(faces: np.ndarray) -> None:
    """What the blocks say of faces stored as JPEG once and without loss then."""
    natural = measured(faces)["compression_quality"]
    print(f"compression_quality by blocks, natural faces (JPEG 90): median {np.median(natural):.0f}")
    print("| JPEG quality | compression_quality, 5th, 50th and 95th percentile | AUC |\n|---|---|---|")
    for quality in (75, 60, 50, 40, 30, 20, 10):
        found = measured(np.stack([recompressed(face, quality) for face in faces]))["compression_quality"]
        low, middle, high = np.percentile(found, (5, 50, 95))
        print(f"| {quality} | {low:.0f}, {middle:.0f}, {high:.0f} | {auc(found, natural):.3f} |")
    print()


def print_colours_and_sides(faces: np.ndarray) -> None:
    """Exchanged colours, no colour, one side in the shade."""
    natural = measured(faces)
    print("| faces | measure | median, natural median | AUC |\n|---|---|---|---|")
    grey = np.stack([faded(face, 1.0, np.random.default_rng(0)) for face in faces])
    shaded = np.stack([half_lit(face, 0.6, np.random.default_rng(0)) for face in faces])
    exchanged = np.ascontiguousarray(faces[..., ::-1])
    for name, changed, measure, lower in (
        ("red and blue exchanged", exchanged, "natural_colour_quality", True),
        ("grey", grey, "natural_colour_quality", True),
        ("grey", grey, "grey", False),
        ("one side at 43 % of the light", shaded, "illumination_uniformity", True),
        ("one side at 43 % of the light", shaded, "side_light", False),
    ):
        found = measured(changed)[measure]
        area = auc(found, natural[measure]) if lower else auc(natural[measure], found)
        print(f"| {name} | {measure} | {np.median(found):.3g}, {np.median(natural[measure]):.3g} | {area:.3f} |")
    print()


def auc(lower: np.ndarray, higher: np.ndarray) -> float:
    """Share of pairs in which one of the second is higher than one of the first; ties count half."""
    ascending = np.sort(lower)
    below = np.searchsorted(ascending, higher, "left") + np.searchsorted(ascending, higher, "right")
    return float(below.mean() / 2 / len(lower))


if __name__ == "__main__":
    main()
