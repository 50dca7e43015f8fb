"""Gradient penalties of discriminators (R1: Mescheder et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch


def r1_penalty(
    discriminator: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, *, gamma: float
) -> torch.Tensor:
    """Return gamma / 2 ||d D(x) / dx||^2 of each image, (n,), differentiable in D's weights.

    `discriminator` maps (n, c, h, w) to one logit per image and must have second derivatives:
    fused attention kernels have none, so its attention has to be explicit.
    """
    x = images.detach().float().requires_grad_(True)
    logits = discriminator(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gamma / 2 * gradient.float().square().sum((1, 2, 3))
