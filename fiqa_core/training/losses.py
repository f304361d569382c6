"""The losses of ViT-FIQA (arXiv 2508.13957, section 3), in the paper's symbols.

    L      = L_FR + alpha * L_FIQ                                      alpha = 10
    L_FR   = -log( e^{s (cos t_y - m)} / (e^{s (cos t_y - m)} + sum_{j != y} e^{s cos t_j}) )      s = 64, m = 0.4
    L_FIQ  = SmoothL1_beta(q - CR)                                     beta = 0.5
    L_rank = 1 - Pearson's r of q and CR over a batch's natural images (not the paper's; with a teacher only)
    CR     = CCS / (NNCCS + 1 + eps)                                   eps = 1e-9
    CCS    = cos t_y, NNCCS = max_{j != y} cos t_j

t_j is the angle between a sample's embedding x and the centre W_j of class j, y its own class, q the predicted quality.
B samples, C classes, D numbers an embedding. Every loss is a mean over the samples, weighted by w if weights are
given.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

EPS = 1e-9
_FEWEST_RANKED = 3
_LEAST_SPREAD = 1e-6


def cosines(x: Tensor, centres: Tensor) -> Tensor:
    """cos t_j, (B, C), of embeddings (B, D) and centres (C, D), neither normalised; clamped to [-1, 1]."""
    return (F.normalize(x) @ F.normalize(centres).T).clamp(-1, 1)


def class_similarities(cos: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(CCS, NNCCS), both (B,), of cosines (B, C) and own classes (B,); NNCCS is -1 if there is only one class."""
    own = F.one_hot(y, cos.shape[1]).bool()
    return cos[own], cos.masked_fill(own, -torch.inf).amax(1).clamp(min=-1)


def certainty_ratio(ccs: Tensor, nnccs: Tensor) -> Tensor:
    """CR (B,), higher = more useful; a target, so no gradient flows through it."""
    return (ccs / (nnccs + 1 + EPS)).detach()


def margin_logits(cos: Tensor, y: Tensor, s: float, m: float) -> Tensor:
    """CosFace's logits (B, C): s (cos t_y - m) at the own class, s cos t_j at the others."""
    return s * (cos - m * F.one_hot(y, cos.shape[1]).to(cos.dtype))


def recognition_loss(cos: Tensor, y: Tensor, s: float, m: float, w: Tensor | None = None) -> Tensor:
    """L_FR, a scalar; cosines (B, C), own classes (B,)."""
    return weighted_mean(F.cross_entropy(margin_logits(cos, y, s, m), y, reduction="none"), w)


def quality_loss(q: Tensor, cr: Tensor, beta: float, w: Tensor | None = None) -> Tensor:
    """L_FIQ, a scalar: d^2 / (2 beta) where d = |q - CR| < beta, d - beta / 2 elsewhere; q and CR (B,)."""
    return weighted_mean(F.smooth_l1_loss(q, cr, beta=beta, reduction="none"), w)


def rank_loss(q: Tensor, cr: Tensor, natural: Tensor) -> Tensor:
    """L_rank, a scalar; q and CR (B,), natural bool (B,). Natural faces differ little in CR, and so in L_FIQ.

    0 if fewer than three images are natural.
    """
    if int(natural.sum()) < _FEWEST_RANKED:
        return q.sum() * 0
    q, cr = q[natural] - q[natural].mean(), cr[natural] - cr[natural].mean()
    lengths = (q.square().sum() * cr.square().sum()).sqrt()
    return 1 - (q * cr).sum() / lengths.clamp(min=_LEAST_SPREAD)


def distillation_loss(x: Tensor, teacher: Tensor, kind: str, w: Tensor | None = None) -> Tensor:
    """Distance of embeddings (B, D) from a teacher's, a scalar: `cosine` 1 - cos, `mse` of the unit vectors."""
    if kind == "cosine":
        return weighted_mean(1 - F.cosine_similarity(x, teacher), w)
    if kind == "mse":
        return weighted_mean((F.normalize(x) - F.normalize(teacher)).square().mean(1), w)
    raise ValueError(f"distillation loss {kind!r} is not known; expected cosine or mse")


def weighted_mean(values: Tensor, w: Tensor | None) -> Tensor:
    """sum w v / sum w of (B,) and (B,); 0 where all weights are 0."""
    return values.mean() if w is None else (values * w).sum() / w.sum().clamp(min=EPS)
