"""DPM-Solver++ (2M), multistep with data prediction (Lu et al. 2022b, Algorithm 2).

With x = x0 + sigma eps and h = log(sigma / sigma'): x' = (sigma' / sigma) x - (e^-h - 1) D, where D
extrapolates the last two estimates of x0. One evaluation per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from slimgen.diffusion.denoiser import Callback, Denoise

SHORT = 15  # runs below this many steps end with a first-order step, for stability


def sample_dpm_solver_pp(
    denoiser: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    *,
    order: int = 2,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Return x at sigmas[-1] (above 0), from x (n, c, h, w) at sigmas[0]; order 1 or 2.

    The first step is of order 1, and so is the last of a run of less than 15 steps.
    """
    steps = len(sigmas) - 1
    previous: tuple[torch.Tensor, float] | None = None  # denoised and h of the step before
    for step, (sigma, end) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, x, denoised, sigma)
        h = math.log(sigma / end)
        estimate = denoised
        if order == 2 and previous is not None and not (step == steps - 1 and steps < SHORT):
            earlier, h_earlier = previous
            r = h_earlier / h
            estimate = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * earlier
        x = (end / sigma) * x - math.expm1(-h) * estimate
        previous = (denoised, h)
    return x
