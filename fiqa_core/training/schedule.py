"""The learning rate over a run: linear warm-up, then polynomial decay to 0."""


def rate_factor(step: int, warmup: int, steps: int, power: float = 1.0) -> float:
    """Share of the peak learning rate at a step (from 0) of `steps`, of which the first `warmup` rise linearly."""
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / max(1, steps - warmup)
    return float(max(0.0, min(1.0, left)) ** power)
