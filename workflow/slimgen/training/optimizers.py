"""Optimizers and learning rates as a function of the step (no scheduler state to save)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from slimgen.config.base import Optimizer as OptimizerSettings
from slimgen.training.imports import import_to_stay
from slimgen.training.processes import average_gradients

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam}


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """Return the configured optimizer over `parameters`."""
    import_to_stay("torch._dynamo")  # torch's first optimizer would
    return OPTIMIZERS[settings.name](
        list(parameters),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


def learning_rate(
    settings: OptimizerSettings, step: int, steps: int, *, decay_start: float = 0.0
) -> float:
    """Return the learning rate of step `step` (from 0) of `steps`.

    Linear warm-up reaches `lr` at step `warmup`; the decay to 0 spans the remaining steps, or those
    after the share `decay_start` of all.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    start = max(settings.warmup, round(decay_start * steps))
    progress = max(0, step - start) / max(1, steps - start)
    if settings.decay == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.decay == "linear":
        return settings.lr * (1 - progress)
    return settings.lr


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    settings: OptimizerSettings,
    *,
    step: int,
    steps: int,
    decay_start: float = 0.0,
    scaler: torch.amp.GradScaler | None = None,
) -> torch.Tensor | None:
    """Set the learning rate, clip, step, clear gradients; return the norm if clipped.

    Where several processes train together, their gradients are averaged first.
    """
    norm = None
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(settings, step, steps, decay_start=decay_start)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    average_gradients(parameters)
    if scaler is not None:
        scaler.unscale_(optimizer)
    if settings.clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
