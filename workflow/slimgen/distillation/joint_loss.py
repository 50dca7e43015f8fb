"""The dynamic joint loss of retraining (Tang et al. 2023).

L = gamma (1 - beta) L_dis + beta L_ori
"""

from __future__ import annotations

from typing import Literal

BetaKind = Literal["linear", "step", "fixed", "no_dis"]


def beta_at(kind: BetaKind, step: int, steps: int, value: float = 0.5) -> float:
    """Return beta of step `step` (from 0) of K = `steps`.

    linear: min(1, step / (K / 2)). step: 0 before K / 2, then 1. fixed: `value`. no_dis: 1.
    """
    if kind == "linear":
        return min(1.0, step / (steps / 2))
    if kind == "step":
        return 0.0 if step < steps / 2 else 1.0
    return value if kind == "fixed" else 1.0


def weights(gamma: float, beta: float) -> tuple[float, float]:
    """Return what L_dis and L_ori are multiplied with; a loss of weight 0 need not be computed."""
    return gamma * (1 - beta), beta
