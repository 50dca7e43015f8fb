"""The schedules of ACT (Kong et al. 2024) and of consistency training (Song et al. 2023).

Progress is p = k / K, k the step (from 0) of K. Indices n = 0 .. N - 1 count noise levels upwards:
n = 0 is sigma_min, N - 1 is sigma_max; the code that draws an index carries it, nothing inverts
sigma.
"""

from __future__ import annotations

import math

import torch

from slimgen.config.act import StudentSettings, Weight
from slimgen.diffusion.consistency_sampling import karras_sigmas


def num_scales(settings: StudentSettings, step: int, steps: int) -> int:
    """Return N(k), the number of points of the noise grid."""
    p, s0, s1 = step / steps, settings.s0, settings.s1
    if settings.scales == "act":
        # N = round(sqrt(p (s1^2 - s0^2) + s0^2)), Kong et al. 2024, released code
        return round(math.sqrt(p * (s1**2 - s0**2) + s0**2))
    # N = max(ceil(sqrt(p ((s1 + 1)^2 - s0^2) + s0^2) - 1), 1) + 1, Song et al. 2023, released code
    return max(math.ceil(math.sqrt(p * ((s1 + 1) ** 2 - s0**2) + s0**2) - 1), 1) + 1


def target_decay(settings: StudentSettings, scales: int) -> float:
    """Return mu(k) = exp(s0 ln mu0 / (N - 1)), the decay of the EMA target."""
    return math.exp(settings.s0 * math.log(settings.mu0) / (scales - 1))


def noise_grid(settings: StudentSettings, scales: int) -> torch.Tensor:
    """Return sigma_0 < ... < sigma_{N-1}, float32 (N,), the ends exactly sigma_min and sigma_max.

    sigma_n = (sigma_min^(1/rho) + n / (N - 1) (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho.
    """
    descending = karras_sigmas(
        scales, sigma_min=settings.sigma_min, sigma_max=settings.sigma_max, rho=settings.rho
    )
    return torch.tensor(descending[::-1], dtype=torch.float32)


def adversarial_weight(settings: Weight, index: torch.Tensor, scales: int) -> torch.Tensor:
    """Return lambda_N(n) of each index, float32 of the shape of `index`.

    Constant w, or w (n / (N - 1))^e with e = log_{1/2}(w_mid / w): w at sigma_max, w_mid half way.
    """
    u = index.to(torch.float32) / (scales - 1)
    if settings.kind == "constant" or settings.w == 0:
        return torch.full_like(u, settings.w)
    exponent = math.log(settings.w_mid / settings.w) / math.log(0.5)
    return settings.w * u**exponent
