"""CPU time of the component measures (`--measures`), a batch of 64 random images, the fastest of 20 rounds.

python -m benchmarks.measures
"""

import time

import cv2
import numpy as np

from fiqa_core.images.components import component_measures

IMAGES = 64
ROUNDS = 20


def main() -> None:
    """Measure, and print the time of one image."""
    cv2.setNumThreads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 112, 112, 3), dtype=np.uint8)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        component_measures(pixels)
        best = min(best, time.thread_time() - started)
    print(f"{1000 * best / IMAGES:.3f} ms of CPU time an image")


if __name__ == "__main__":
    main()
