"""The denoising loss of DDPM (Ho et al. 2020, eq. 14) and the pseudo-Huber distance."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.diffusion.prediction import Prediction, training_target
from slimgen.diffusion.schedule import Schedule


def denoising_loss(
    network: nn.Module,
    schedule: Schedule,
    prediction: Prediction,
    x0: torch.Tensor,
    t: torch.Tensor,
    eps: torch.Tensor,
) -> torch.Tensor:
    """Return the mean squared error of the network's prediction, a scalar.

    x0 and eps (n, c, h, w); t int64 (n,).
    """
    abar = schedule.alphas_cumprod.to(x0.device)[t][:, None, None, None]
    a, s = abar.sqrt().to(x0.dtype), (1 - abar).sqrt().to(x0.dtype)
    output = network(a * x0 + s * eps, t, return_dict=False)[0]
    return F.mse_loss(output.to(x0.dtype), training_target(x0, eps, a, s, prediction))


def pseudo_huber(
    output: torch.Tensor, target: torch.Tensor, c: float | None = None
) -> torch.Tensor:
    """Return sqrt(||d||^2 + c^2) - c of each whole image, (n,) (Song and Dhariwal 2023, eq. 7).

    c is 0.00054 sqrt(D) if not given, D the number of values of an image.
    """
    difference = (output - target).flatten(1)
    if c is None:
        c = 0.00054 * difference.shape[1] ** 0.5
    return (difference.square().sum(1) + c**2).sqrt() - c
