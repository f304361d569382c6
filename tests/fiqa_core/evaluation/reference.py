"""Both EDC protocols written down slowly, straight from their definitions: what the fast code is held against."""

import numpy as np


def crfiqa(dissimilarity, mated, quality, fmr):
    """(fnmr, threshold, achieved) at each discarded fraction; None where a kind of pair has run out."""
    pairs = sorted(range(len(mated)), key=lambda place: quality[place])
    points = []
    for share in np.arange(0, 0.98, 0.05):
        left = pairs[int(share * len(pairs)) :]
        genuine = [dissimilarity[place] for place in left if mated[place]]
        impostor = [dissimilarity[place] for place in left if not mated[place]]
        if not genuine or not impostor:
            points.append(None)
            continue
        best = None
        for candidate in sorted(set(genuine) | set(impostor), reverse=True):
            achieved = sum(value <= candidate for value in impostor) / len(impostor)
            if best is None or abs(achieved - fmr) < best[0]:
                best = abs(achieved - fmr), candidate, achieved
        accepted = sum(value < best[1] for value in genuine)
        points.append((1 - accepted / len(genuine), best[1], best[2]))
    return points


def fixed(dissimilarity, mated, quality, fmr):
    """(discard, fnmr, achieved) at each distinct quality of a mated pair."""
    genuine = [(quality[place], dissimilarity[place]) for place in range(len(mated)) if mated[place]]
    impostor = [dissimilarity[place] for place in range(len(mated)) if not mated[place]]
    # No pair lies between two neighbouring values, so these are all the thresholds that can make a difference.
    candidates = sorted({value for _, value in genuine} | set(impostor), reverse=True)
    rate = {value: sum(other <= value for other in impostor) / len(impostor) for value in candidates}
    threshold = next((value for value in candidates if rate[value] <= fmr), -1.0)
    points = []
    for least in sorted({own for own, _ in genuine}):
        left = [value for own, value in genuine if own >= least]
        failed = sum(value > threshold for value in left)
        points.append((1 - len(left) / len(genuine), failed / len(left), rate.get(threshold, 0.0)))
    return points
