"""Exponential moving average of a module's parameters (buffers are averaged or copied)."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Average of `module`: `ema.module` is a copy in eval mode whose weights lag behind.

    theta_ema <- d theta_ema + (1 - d) theta, with d = min(decay, (1 + k) / (10 + k)) under warm-up.
    """

    def __init__(
        self, module: nn.Module, decay: float, warmup: bool = False, average_buffers: bool = False
    ) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.warmup, self.average_buffers = decay, warmup, average_buffers

    def decay_at(self, step: int) -> float:
        """Return the decay used after step `step` (counted from 0)."""
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, decay: float | None = None) -> None:
        """Move the average towards `module`; `decay` overrides the schedule."""
        weight = 1.0 - (self.decay_at(step) if decay is None else decay)
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), weight)
        for ours, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            if self.average_buffers and ours.is_floating_point():
                ours.lerp_(theirs, weight)
            else:
                ours.copy_(theirs)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the averaged weights."""
        self.module.load_state_dict(state)
