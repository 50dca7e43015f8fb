"""What a network predicts, and the way from each prediction to the others.

With x_t = a x0 + s eps, a = sqrt(abar), s = sqrt(1 - abar): v = a eps - s x0 (Salimans, Ho 2022).
"""

from __future__ import annotations

from typing import Literal

import torch

Prediction = Literal["eps", "x0", "v"]

DIFFUSERS_NAMES: dict[str, Prediction] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def to_x0(
    output: torch.Tensor,
    x_t: torch.Tensor,
    a: torch.Tensor,
    s: torch.Tensor,
    prediction: Prediction,
) -> torch.Tensor:
    """Return x0 from the network's output; `a` and `s` broadcast over the images."""
    if prediction == "eps":
        return (x_t - s * output) / a
    if prediction == "v":
        return a * x_t - s * output
    return output


def training_target(
    x0: torch.Tensor, eps: torch.Tensor, a: torch.Tensor, s: torch.Tensor, prediction: Prediction
) -> torch.Tensor:
    """Return what the network should output."""
    if prediction == "eps":
        return eps
    if prediction == "v":
        return a * eps - s * x0
    return x0
