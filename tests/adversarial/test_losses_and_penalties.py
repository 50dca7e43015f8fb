"""Adversarial losses against their logarithmic forms; R1 against closed forms."""

import pytest
import torch

from slimgen.adversarial.losses import fake_loss, generator_loss, real_loss
from slimgen.adversarial.penalties import r1_penalty

LOGITS = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)


def test_losses_are_those_of_a_probability():
    D = torch.sigmoid(LOGITS)
    for kind in ("minimax", "non_saturating"):
        torch.testing.assert_close(fake_loss(LOGITS, kind), -(1 - D).log())
        torch.testing.assert_close(real_loss(LOGITS, kind), -D.log())
    torch.testing.assert_close(generator_loss(LOGITS, "minimax"), (1 - D).log())
    torch.testing.assert_close(generator_loss(LOGITS, "non_saturating"), -D.log())


def test_hinge_pair():
    assert fake_loss(LOGITS, "hinge").tolist() == [0.0, 0.5, 1.0, 3.0]
    assert real_loss(LOGITS, "hinge").tolist() == [4.0, 1.5, 1.0, 0.0]
    assert generator_loss(LOGITS, "hinge").tolist() == [3.0, 0.5, 0.0, -2.0]


@pytest.mark.parametrize("kind", ["minimax", "non_saturating", "hinge"])
def test_generator_and_discriminator_pull_a_fake_logit_in_opposite_directions(kind):
    logit = torch.tensor([0.3], requires_grad=True)
    (up,) = torch.autograd.grad(generator_loss(logit, kind).sum(), logit)
    (down,) = torch.autograd.grad(fake_loss(logit, kind).sum(), logit)
    assert up < 0 < down


def test_r1_of_a_linear_discriminator_is_its_weight():
    w = torch.randn(3, 4, 4, requires_grad=True)
    images = torch.randn(5, 3, 4, 4)
    penalty = r1_penalty(lambda x: (x * w).sum((1, 2, 3)), images, gamma=10.0)
    torch.testing.assert_close(penalty, (5 * w.square().sum()).expand(5))
    penalty.mean().backward()
    torch.testing.assert_close(w.grad, 10 * w.detach())  # d/dw gamma/2 |w|^2


def test_r1_of_a_quadratic_discriminator():
    a = torch.tensor(0.7, requires_grad=True)
    images = torch.randn(6, 1, 3, 3)
    penalty = r1_penalty(lambda x: a * x.square().sum((1, 2, 3)), images, gamma=2.0)
    norms = images.square().sum((1, 2, 3))  # D = a |x|^2, gradient 2 a x
    torch.testing.assert_close(penalty, 4 * 0.7**2 * norms)
    penalty.sum().backward()
    torch.testing.assert_close(a.grad, (8 * 0.7 * norms).sum())
