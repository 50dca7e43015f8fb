"""Sampling of consistency models: one step, and several (Song et al. 2023, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from slimgen.diffusion.denoiser import Callback, ConsistencyProcess, Denoise


def karras_sigmas(num: int, *, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """Return `num` noise levels from sigma_max down to sigma_min (Karras et al. 2022, eq. 5)."""
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    inner = [(high + i / (num - 1) * (low - high)) ** rho for i in range(1, num - 1)]
    return [sigma_max, *inner, sigma_min]


def consistency_sigmas(
    process: ConsistencyProcess, nfe: int, intermediate: Sequence[float] | None
) -> list[float]:
    """Return the noise level of each of `nfe` evaluations, the first sigma_max.

    By default the Karras grid of nfe + 1 points without its end, sigma_min.
    Raises ValueError where `intermediate` has less than nfe - 1 levels, or they do not decrease
    between sigma_max and sigma_min.
    """
    if intermediate is None:
        return karras_sigmas(
            nfe + 1, sigma_min=process.sigma_min, sigma_max=process.sigma_max, rho=process.rho
        )[:-1]
    if len(intermediate) < nfe - 1:
        raise ValueError(
            f"consistency-{nfe} needs {nfe - 1} consistency_sigmas, there are {len(intermediate)}"
        )
    sigmas = [process.sigma_max, *intermediate[: nfe - 1]]
    decreasing = all(a > b for a, b in zip(sigmas, [*sigmas[1:], process.sigma_min], strict=True))
    if not decreasing:
        raise ValueError(
            f"consistency_sigmas {list(intermediate)} must decrease between sigma_max "
            f"{process.sigma_max} and sigma_min {process.sigma_min}"
        )
    return sigmas


def sample_consistency(
    denoiser: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    *,
    sigma_min: float,
    noise: Iterator[torch.Tensor] | None = None,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Return f(x, sigma) after len(sigmas) evaluations, from x (n, c, h, w) at sigmas[0].

    Between two evaluations the image is noised again to the next level, with one draw of `noise`.
    """
    denoised = x
    for step, sigma in enumerate(sigmas):
        if step:
            assert noise is not None
            x = denoised + (sigma**2 - sigma_min**2) ** 0.5 * next(noise)
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, x, denoised, sigma)
    return denoised
