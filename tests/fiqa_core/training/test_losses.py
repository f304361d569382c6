"""The losses against slow float64 loops that follow the paper's formulas one number at a time."""

import math

import numpy as np
import pytest
import torch

from fiqa_core.training.losses import (
    certainty_ratio,
    class_similarities,
    cosines,
    distillation_loss,
    quality_loss,
    recognition_loss,
)

B, C, D, S, M = 5, 7, 6, 64.0, 0.4


def obvious_cosine(x, w):
    dot = sum(a * b for a, b in zip(x, w, strict=True))
    return dot / math.sqrt(sum(a * a for a in x)) / math.sqrt(sum(b * b for b in w))


def obvious_recognition(x, centres, y, weights):
    losses = []
    for row, own in zip(x, y, strict=True):
        cos = [obvious_cosine(row, centre) for centre in centres]
        up = math.exp(S * (cos[own] - M))
        down = up + sum(math.exp(S * c) for j, c in enumerate(cos) if j != own)
        losses.append(-math.log(up / down))
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


def obvious_certainty(x, centres, y):
    found = []
    for row, own in zip(x, y, strict=True):
        cos = [obvious_cosine(row, centre) for centre in centres]
        nearest = max(c for j, c in enumerate(cos) if j != own)
        found.append(cos[own] / (nearest + 1 + 1e-9))
    return found


def obvious_quality(q, cr, weights):
    losses = []
    for a, b in zip(q, cr, strict=True):
        d = abs(a - b)
        losses.append(d * d / (2 * 0.5) if d < 0.5 else d - 0.25)
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


def gradient(function, values, step=1e-6):
    """Central differences, one number at a time."""
    found = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        more, less = values.copy(), values.copy()
        more[place] += step
        less[place] -= step
        found[place] = (function(more) - function(less)) / (2 * step)
    return found


@pytest.fixture
def case():
    random = np.random.default_rng(5)
    y = [0, 3, 3, 6, 2]
    centres = random.normal(size=(C, D))
    # Near their own centres, so that no exponential of the slow version underflows to 0.
    x = centres[y] * random.uniform(0.5, 3, (B, 1)) + 0.7 * random.normal(size=(B, D))
    return x, centres, y, [1.0, 0.2, 0.7, 1.0, 0.5]


def test_recognition_loss_and_its_gradients_are_the_papers(case):
    x, centres, y, weights = case
    tx, tc = (torch.tensor(part, requires_grad=True) for part in (x, centres))
    loss = recognition_loss(cosines(tx, tc), torch.tensor(y), S, M, torch.tensor(weights, dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(obvious_recognition(x, centres, y, weights), rel=1e-12)
    of_x = gradient(lambda v: obvious_recognition(v, centres, y, weights), x)
    of_centres = gradient(lambda v: obvious_recognition(x, v, y, weights), centres)
    assert np.abs(of_x).max() > 0.1
    np.testing.assert_allclose(tx.grad.numpy(), of_x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tc.grad.numpy(), of_centres, rtol=1e-4, atol=1e-6)


def test_certainty_ratio_is_the_papers_and_carries_no_gradient(case):
    x, centres, y, _ = case
    tx = torch.tensor(x, requires_grad=True)
    found = certainty_ratio(*class_similarities(cosines(tx, torch.tensor(centres)), torch.tensor(y)))
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), obvious_certainty(x, centres, y), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_quality_loss_and_its_gradient_are_smooth_l1_with_beta_half(weighted):
    q = np.array([0.1, 0.9, -0.8, 0.45, 2.0])  # inside and outside the quadratic part
    cr = np.array([0.3, 0.5, 0.4, 0.45, 0.1])
    weights = [1.0, 0.5, 0.2, 0.9, 1.0] if weighted else [1.0] * 5
    tq = torch.tensor(q, requires_grad=True)
    loss = quality_loss(tq, torch.tensor(cr), 0.5, torch.tensor(weights, dtype=torch.float64) if weighted else None)
    loss.backward()
    assert loss.item() == pytest.approx(obvious_quality(q, cr, weights), rel=1e-12)
    of_q = gradient(lambda v: obvious_quality(v, cr, weights), q)
    np.testing.assert_allclose(tq.grad.numpy(), of_q, rtol=1e-5, atol=1e-8)


def test_distillation_loss_does_not_see_length():
    random = np.random.default_rng(1)
    x, teacher = (torch.tensor(random.normal(size=(B, D))) for _ in range(2))
    expected = np.mean([1 - obvious_cosine(a, b) for a, b in zip(x.tolist(), teacher.tolist(), strict=True)])
    assert distillation_loss(3 * x, teacher, "cosine").item() == pytest.approx(expected, rel=1e-12)
    # |a - b|^2 of unit vectors is 2 - 2 cos; the mean over D numbers.
    assert distillation_loss(x, 5 * teacher, "mse").item() == pytest.approx(2 * expected / D, rel=1e-9)
    with pytest.raises(ValueError, match="cosine or mse"):
        distillation_loss(x, teacher, "l3")


def test_samples_without_weight_change_nothing(case):
    x, centres, y, _ = case
    cos, own = cosines(torch.tensor(x), torch.tensor(centres)), torch.tensor(y)
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    seen = weights.bool()
    assert recognition_loss(cos, own, S, M, weights).item() == pytest.approx(
        recognition_loss(cos[seen], own[seen], S, M).item(), rel=1e-12
    )
