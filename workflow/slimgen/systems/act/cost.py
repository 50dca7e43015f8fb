"""What a training step costs in multiply-adds, counted on the networks; steps of equal cost.

With M_G, M_D the multiply-adds of one forward pass for one image and B the batch size:
generator 3 M_G B (forward, and a backward counted as two), target M_G B,
distance (LPIPS only) 3/2 of its two forward passes (the gradient stops at one image and its
weights are frozen), adversarial term 2 M_D B (D's weights have no gradient here),
generated images for the discriminator M_G B / 2, discriminator step 3 M_D B,
R1 6 M_D B / 2 every `r1_interval` steps (forward, input gradient, and backward through both).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.config.act import StudentSettings
from slimgen.data.files import read_json
from slimgen.evaluation.complexity import count_macs, count_unet_macs


def training_macs(
    settings: StudentSettings,
    *,
    shape: tuple[int, int, int],
    generator: nn.Module,
    discriminator: nn.Module | None,
    distance: object,
) -> dict[str, float]:
    """Return the multiply-adds of one training step by part, for images of `shape` (c, h, w)."""
    weight = next(generator.parameters())
    image = torch.zeros(1, *shape, device=weight.device)
    batch = settings.batch_size
    g = count_unet_macs(generator, shape).total
    parts: dict[str, float] = {"generator": 3 * g * batch, "target": g * batch}
    if isinstance(distance, nn.Module):
        parts["distance"] = 1.5 * count_macs(distance, image, image).total * batch
    if discriminator is not None:
        d = count_macs(discriminator, image, torch.zeros(1, device=weight.device)).total
        parts["adversarial_term"] = 2 * d * batch
        parts["generated_for_discriminator"] = g * batch / 2
        parts["discriminator"] = 3 * d * batch
        parts["r1"] = 6 * d * (batch / 2) / settings.r1_interval
    return parts


def cost_record(parts: dict[str, float], steps: int) -> dict[str, Any]:
    """Return what cost.json holds: multiply-adds per step, by part and of the whole training."""
    per_step = sum(parts.values())
    return {
        "macs_per_step": per_step,
        "steps": steps,
        "train_macs": per_step * steps,
        "parts": parts,
    }


def equal_steps(cost: Path, parts: dict[str, float]) -> int:
    """Return the number of steps whose multiply-adds come nearest to those in a cost.json.

    At least 1. Raises ValueError where the file does not hold them.
    """
    record = read_json(cost)
    total = record.get("train_macs") if isinstance(record, dict) else None
    if isinstance(total, bool) or not isinstance(total, int | float) or total <= 0:
        raise ValueError(f"{cost}: train_macs is {total!r}, not a positive number")
    return max(1, round(total / sum(parts.values())))
