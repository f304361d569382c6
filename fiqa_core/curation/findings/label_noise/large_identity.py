"""The centre of a very large identity, found from a part of its images, so that memory is bounded."""

from collections.abc import Iterator

import numpy as np

from fiqa_core.curation.findings.label_noise.identity_centres import Centres, leaders, robust_centres
from fiqa_core.curation.findings.similarity import BLOCK, blocks

# Most images of one identity from which its centre and groups are found.
MOST_VOTES = 32_768


def large_centre(vectors: np.ndarray, picture: np.ndarray, most: int = MOST_VOTES) -> Centres:
    """`robust_centres` of one identity from every k-th of its pictures; each row is compared with the result.

    A row without a vote is compared with that centre. It counts as `kept` if it is at least as near as the farthest
    row with a vote, and it belongs to the group whose centre is nearer.

    Args:
        vectors: float16 or float32 (n, d), unit length. picture: int64 (n,): equal = the same bytes.
    """
    distinct = np.flatnonzero(leaders(np.zeros(len(picture), np.int64), picture) == np.arange(len(picture)))
    voting = distinct[:: max(1, -(-len(distinct) // most))]
    sample = vectors[voting]
    found = robust_centres(sample, np.zeros(len(voting), np.int64), picture[voting])
    cosine = np.concatenate([block @ found.centre[0] for block in _floats(vectors)])
    kept = cosine >= np.min(found.cosine[found.kept], initial=np.inf)
    cosine[voting], kept[voting] = found.cosine, found.kept
    mean = sample[found.kept].astype(np.float32).mean(axis=0)
    genuine = np.concatenate([block @ mean for block in _floats(vectors)])
    genuine[voting] = found.genuine
    groups = {}
    for number, group in found.groups.items():
        means = np.stack([sample[of].astype(np.float32).mean(axis=0) for of in (~group.minority, group.minority)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        across = np.concatenate([block @ means.T for block in _floats(vectors)])
        groups[number] = group._replace(minority=across[:, 1] > across[:, 0])
    votes = np.array([len(distinct)])
    return Centres(np.clip(cosine, -1, 1), found.centre, votes, kept, groups, np.clip(genuine, -1, 1))


def _floats(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for part in blocks(len(vectors), BLOCK):
        yield vectors[part].astype(np.float32)
