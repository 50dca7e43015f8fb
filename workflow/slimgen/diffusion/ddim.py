"""DDIM sampling (Song et al. 2021, eq. 12 and 16) in coordinates x = x0 + sigma eps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch

from slimgen.diffusion.denoiser import Callback, Denoise


def sample_ddim(
    denoiser: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    *,
    eta: float = 0.0,
    noise: Iterator[torch.Tensor] | None = None,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Return the image reached from x at sigmas[0].

    Args:
        denoiser: one evaluation per step.
        x: (n, c, h, w) at sigmas[0].
        sigmas: decreasing; the last is 0 (it gets no evaluation).
        eta: 0 deterministic, 1 as noisy as ancestral sampling.
        noise: needed where eta > 0; one draw per step but the last.
        callback: called with (step, x, denoised, sigma) after each evaluation.
    """
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, x, denoised, sigma)
        eps = (x - denoised) / sigma
        # Eq. 16 divided by sqrt(abar): new noise, and what is left of the old
        sigma_up = eta * following / sigma * (sigma**2 - following**2) ** 0.5
        sigma_down = (following**2 - sigma_up**2) ** 0.5
        # Eq. 12
        x = denoised + sigma_down * eps
        if sigma_up > 0:
            assert noise is not None
            x = x + sigma_up * next(noise)
    return x
