"""DPM-Solver, singlestep, orders 1 to 3 (Lu et al. 2022), and the noise levels of both DPM solvers.

With lambda = -log sigma (half the log-SNR) and x = x_t / sqrt(abar_t), the exact solution between
two noise levels is x' = x - integral of e^-lambda eps d(lambda). The solvers expand eps in lambda
around the start of the step; here sigma' (e^h - 1) = sigma - sigma' with h = lambda' - lambda.
Inner points lie at r = 1/2 (order 2) and r = 1/3, 2/3 (order 3) of the step in lambda.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import torch

from slimgen.diffusion.denoiser import Callback, Denoise
from slimgen.diffusion.schedule import Schedule

DpmSpacing = Literal["time_uniform", "logsnr", "time_quadratic"]


def singlestep_orders(nfe: int, order: int) -> list[int]:
    """Return the orders of the steps, which sum to `nfe`.

    Order 3: as many threes as fit while the last steps fall to lower orders: 10 = 3 + 3 + 3 + 1,
    20 = 6 x 3 + 2, and a multiple of three ends with 2 + 1. Order 2: twos, and a one if nfe is odd.
    """
    if order == 3:
        threes, rest = divmod(nfe, 3)
        return [3] * (threes - 1) + [2, 1] if rest == 0 else [3] * threes + [rest]
    return [order] * (nfe // order) + [1] * (nfe % order)


def dpm_sigmas(
    schedule: Schedule, spacing: DpmSpacing, intervals: int, *, log_snr_min: float | None
) -> list[float]:
    """Return `intervals` + 1 noise levels, decreasing to that of timestep 0.

    The first is that of the last timestep, or the one with lambda = `log_snr_min` if that is lower.
    time_uniform and time_quadratic are uniform in t + 1 and in its root, t fractional; logsnr is
    uniform in lambda.
    """
    low, high = float(schedule.sigmas[0]), float(schedule.sigmas[-1])
    if log_snr_min is not None:
        high = min(high, math.exp(-log_snr_min))
    if spacing == "logsnr":
        log_sigmas = torch.linspace(
            math.log(high), math.log(low), intervals + 1, dtype=torch.float64
        )
        return [high, *log_sigmas[1:-1].exp().tolist(), low]
    first = float(schedule.timestep(torch.tensor([high], dtype=torch.float64))) + 1
    power = 1 if spacing == "time_uniform" else 2
    roots = torch.linspace(first ** (1 / power), 1, intervals + 1, dtype=torch.float64)
    return [high, *schedule.sigma(roots[1:-1] ** power - 1).tolist(), low]


def singlestep_sigmas(
    schedule: Schedule, spacing: DpmSpacing, orders: Sequence[int], *, log_snr_min: float | None
) -> list[float]:
    """Return the borders of the steps, len(orders) + 1 noise levels.

    A step of order k spans k intervals of a grid of nfe intervals, so that evaluations are spread
    evenly; with logsnr all steps have the same length in lambda, as in the paper.
    """
    if spacing == "logsnr":
        return dpm_sigmas(schedule, spacing, len(orders), log_snr_min=log_snr_min)
    grid = dpm_sigmas(schedule, spacing, sum(orders), log_snr_min=log_snr_min)
    return [grid[index] for index in accumulate(orders, initial=0)]


def sample_dpm_solver(
    denoiser: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    orders: Sequence[int],
    *,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Return x at sigmas[-1] (above 0), from x (n, c, h, w) at sigmas[0].

    Step i leads from sigmas[i] to sigmas[i + 1] with orders[i] evaluations; the callback is called
    with (step, x, denoised, sigma) at the start of each step.
    """

    def eps_at(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (x - denoiser(x, sigma)) / sigma

    for step, order in enumerate(orders):
        sigma, end = sigmas[step], sigmas[step + 1]
        denoised = denoiser(x, sigma)
        if callback is not None:
            callback(step, x, denoised, sigma)
        eps = (x - denoised) / sigma
        h = math.log(sigma / end)
        if order == 1:  # DDIM, eq. 4.1
            x = x + (end - sigma) * eps
        elif order == 2:  # Algorithm 1, r = 1/2
            middle = sigma * math.exp(-h / 2)
            d1 = eps_at(x + (middle - sigma) * eps, middle) - eps
            x = x + (end - sigma) * (eps + d1)
        else:  # Algorithm 2, r = 1/3 and 2/3
            r1, r2 = 1 / 3, 2 / 3
            sigma1, sigma2 = sigma * math.exp(-r1 * h), sigma * math.exp(-r2 * h)
            d1 = eps_at(x + (sigma1 - sigma) * eps, sigma1) - eps
            slope = sigma2 * (r2 / r1) * (math.expm1(r2 * h) / (r2 * h) - 1)
            d2 = eps_at(x + (sigma2 - sigma) * eps - slope * d1, sigma2) - eps
            x = x + (end - sigma) * eps - (end / r2) * (math.expm1(h) / h - 1) * d2
    return x
