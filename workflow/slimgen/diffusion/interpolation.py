"""Spherical interpolation between two noise vectors (Shoemake 1985), as the DDIM paper does it."""

from __future__ import annotations

import torch


def slerp(a: torch.Tensor, b: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
    """Return the points at `fractions` (k,) of the arc from a to b, (k, *shape of a).

    omega is the angle between a and b as whole vectors. Fractions 0 and 1 give a and b exactly;
    between vectors of equal norm the norm stays. Parallel vectors have no arc: the line is used.
    """
    cosine = (a.double() * b.double()).sum() / (a.double().norm() * b.double().norm())
    omega = cosine.clamp(-1, 1).acos()
    fractions = fractions.to(a.device, torch.float64)
    if omega.sin() < 1e-6:
        weight_a, weight_b = 1 - fractions, fractions
    else:
        weight_a = ((1 - fractions) * omega).sin() / omega.sin()
        weight_b = (fractions * omega).sin() / omega.sin()
    columns = (-1, *[1] * a.dim())
    return weight_a.to(a.dtype).view(columns) * a + weight_b.to(a.dtype).view(columns) * b
