"""Variance-preserving noise schedules as values (Ho et al. 2020; Nichol and Dhariwal 2021).

x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps. Samplers work in the coordinates
x = x_t / sqrt(abar_t) = x0 + sigma eps with sigma_t = sqrt((1 - abar_t) / abar_t). Between integer
timesteps log(abar) is linear, as DPM-Solver takes it for discrete schedules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from slimgen.config.base import NoiseSchedule


@dataclass(frozen=True, eq=False)
class Schedule:
    """A schedule is its `alphas_cumprod`, float64 (T,), decreasing."""

    alphas_cumprod: torch.Tensor

    @property
    def num_train_timesteps(self) -> int:
        """Return T."""
        return len(self.alphas_cumprod)

    @cached_property
    def sigmas(self) -> torch.Tensor:
        """Return sigma_t for t = 0 .. T - 1, float64 (T,), increasing."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """Return sigma at timesteps that may be fractional, float64."""
        log_abar = self.alphas_cumprod.log().numpy()
        points = np.interp(t.double().cpu().numpy(), np.arange(len(log_abar)), log_abar)
        return torch.from_numpy(np.asarray(np.sqrt(np.expm1(-points)))).to(t.device)

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """Return the (fractional) timestep of each sigma, float64; the inverse of `sigma`."""
        log_abar = self.alphas_cumprod.log().numpy()
        wanted = -np.log1p(sigma.double().cpu().numpy() ** 2)
        t = np.interp(-wanted, -log_abar, np.arange(len(log_abar)))
        return torch.from_numpy(np.asarray(t)).to(sigma.device)

    def add_noise(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x_t for integer timesteps t (n,)."""
        abar = self.alphas_cumprod.to(x0.device)[t].to(x0.dtype)[:, None, None, None]
        return abar.sqrt() * x0 + (1 - abar).sqrt() * eps


def make_schedule(settings: NoiseSchedule) -> Schedule:
    """Return the configured schedule.

    cosine: abar(u) = cos^2((u + 0.008) / 1.008 pi / 2), each beta at most 0.999.
    """
    T = settings.num_train_timesteps
    if settings.betas == "linear":
        betas = torch.linspace(settings.beta_start, settings.beta_end, T, dtype=torch.float64)
    else:

        def abar(u: float) -> float:
            return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

        ratios = [min(1 - abar((i + 1) / T) / abar(i / T), 0.999) for i in range(T)]
        betas = torch.tensor(ratios, dtype=torch.float64)
    return Schedule((1 - betas).cumprod(0))
