"""Adversarial losses on logits, one value per sample.

minimax (Goodfellow et al. 2014), non-saturating (the same discriminator, another generator loss),
hinge (Lim and Ye 2017), least squares with targets 0 and 1 (Mao et al. 2017). Systems take the
means, and weigh samples where their method does.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

AdversarialLoss = Literal["non_saturating", "minimax", "hinge", "lsgan"]


def generator_loss(fake_logits: torch.Tensor, kind: AdversarialLoss) -> torch.Tensor:
    """Return the generator's loss of each sample, (n,), for logits of shape (n,)."""
    if kind == "non_saturating":
        return F.softplus(-fake_logits)  # -log D
    if kind == "minimax":
        return -F.softplus(fake_logits)  # log(1 - D)
    if kind == "lsgan":
        return (fake_logits - 1).square()
    return -fake_logits


def fake_loss(fake_logits: torch.Tensor, kind: AdversarialLoss) -> torch.Tensor:
    """Return the discriminator's loss of each generated sample, (n,)."""
    if kind == "hinge":
        return F.relu(1 + fake_logits)
    if kind == "lsgan":
        return fake_logits.square()
    return F.softplus(fake_logits)  # -log(1 - D)


def real_loss(real_logits: torch.Tensor, kind: AdversarialLoss) -> torch.Tensor:
    """Return the discriminator's loss of each real sample, (n,)."""
    if kind == "hinge":
        return F.relu(1 - real_logits)
    if kind == "lsgan":
        return (real_logits - 1).square()
    return F.softplus(-real_logits)  # -log D
