"""The centre of an identity with so many images that a part of them tells it as well: bounded memory."""

from collections.abc import Iterator

import numpy as np

from fiqa_core.curation.findings.label_noise.identity_centres import Centres, leaders, robust_centres
from fiqa_core.curation.findings.similarity import BLOCK, blocks

# Images of one identity that its centre and its groups are found from.
MOST_VOTES = 32_768


def large_centre(vectors: np.ndarray, picture: np.ndarray, most: int = MOST_VOTES) -> Centres:
    """`robust_centres` of one identity from every so-manieth of its pictures; each row is compared with the result.

    A row that had no vote is compared with the centre as it is. It counts as `kept` where it is as near as the
    farthest row with a vote, and it belongs to the group whose centre is nearer.

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
