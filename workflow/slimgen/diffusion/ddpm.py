"""Ancestral DDPM sampling (Ho et al. 2020, Algorithm 2 and eq. 6-7) in x = x0 + sigma eps.

Between two noise levels the posterior q(x' | x, x0) has mean x0 + (sigma'^2 / sigma^2) (x - x0) and
variance sigma'^2 (sigma^2 - sigma'^2) / sigma^2 (`fixedsmall`). `fixedlarge` takes the forward
variance beta = 1 - abar / abar' instead, (sigma^2 - sigma'^2) (1 + sigma'^2) / (1 + sigma^2) here.
The step to sigma' = 0 adds no noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch

from slimgen.diffusion.denoiser import Callback, Denoise


def sample_ddpm(
    denoiser: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    *,
    variance: Literal["fixedlarge", "fixedsmall"],
    noise: Iterator[torch.Tensor],
    callback: Callback | None = None,
) -> torch.Tensor:
    """Return the image reached from x (n, c, h, w) at sigmas[0]; sigmas decrease to 0."""
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, x, denoised, sigma)
        x = denoised + (following / sigma) ** 2 * (x - denoised)
        if following > 0:
            added = sigma**2 - following**2
            if variance == "fixedsmall":
                added *= following**2 / sigma**2
            else:
                added *= (1 + following**2) / (1 + sigma**2)
            x = x + added**0.5 * next(noise)
    return x
