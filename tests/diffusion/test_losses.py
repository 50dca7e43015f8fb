"""Losses and interpolation: definitions and laws."""

from __future__ import annotations

import pytest
import torch

from slimgen.diffusion.interpolation import slerp
from slimgen.diffusion.losses import denoising_loss, pseudo_huber
from slimgen.diffusion.prediction import training_target


def batch(seed: int, n: int = 6) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 4, 4, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_denoising_loss_is_the_mean_squared_error_of_the_prediction(prediction, network, linear):
    x0, eps = batch(0), batch(1)
    t = torch.tensor([0, 3, 100, 500, 998, 999])
    errors = []
    for image, noise, step in zip(x0, eps, t, strict=True):
        a = linear.alphas_cumprod[step].sqrt()
        s = (1 - a**2).sqrt()
        output = network((a * image + s * noise)[None], step, return_dict=False)[0]
        errors.append((output - training_target(image, noise, a, s, prediction)).square().mean())
    loss = denoising_loss(network, linear, prediction, x0, t, eps)
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_a_perfect_network_has_no_denoising_loss(linear):
    x0, eps = batch(0), batch(1)

    def perfect(x_t, t, return_dict):
        return (eps,)

    t = torch.arange(6) * 150
    assert denoising_loss(perfect, linear, "eps", x0, t, eps) == 0


def test_pseudo_huber_takes_the_norm_of_each_whole_image():
    output, target = batch(0), batch(1)
    norms = (output - target).flatten(1).norm(dim=1)
    c = 0.00054 * 4
    torch.testing.assert_close(pseudo_huber(output, target), (norms**2 + c**2).sqrt() - c)


def test_pseudo_huber_is_a_square_near_zero_and_a_norm_far_away():
    zero = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert pseudo_huber(zero, zero) == 0
    near, far = zero + 1e-5, zero + 1e5
    torch.testing.assert_close(
        pseudo_huber(near, zero, 0.03)[0], near.norm() ** 2 / 0.06, rtol=1e-4, atol=0
    )
    torch.testing.assert_close(pseudo_huber(far, zero, 0.03)[0], far.norm(), rtol=1e-6, atol=0)


def test_slerp_is_exact_at_its_ends_and_keeps_the_norm():
    a, b = batch(0, 2)
    b = b * a.norm() / b.norm()
    arc = slerp(a, b, torch.linspace(0, 1, 11))
    assert torch.equal(arc[0], a)
    assert torch.equal(arc[-1], b)
    torch.testing.assert_close(arc.flatten(1).norm(dim=1), a.norm().expand(11))
    angles = (arc[:-1] * arc[1:]).flatten(1).sum(1) / a.norm() ** 2
    torch.testing.assert_close(angles, angles[0].expand(10))  # equal steps along the arc


def test_slerp_between_parallel_vectors_is_the_line():
    a = batch(0, 1)[0]
    arc = slerp(a, 2 * a, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(arc, torch.stack([a, 1.5 * a, 2 * a]))
