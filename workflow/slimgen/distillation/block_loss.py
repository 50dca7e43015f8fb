"""Block-wise distillation (Tang et al. 2023): L = sum over blocks || Block(X_i) - Y_i ||^2.

X_i and the incoming skips are the teacher's. Y_i is every tensor that the block returns, and each
one counts with its mean over elements: matching a down block's last output alone would leave the
skips without a teacher.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch.nn import functional as F

from slimgen.distillation.taps import Features
from slimgen.networks.unet_blocks import Outputs, block_outputs, embed_time, head, named_blocks


def block_loss(outputs: Outputs, targets: Outputs) -> torch.Tensor:
    """Return the sum of the mean squared errors of all tensors of a block, a scalar in float32."""
    errors = [F.mse_loss(y.float(), y_t.float()) for y, y_t in zip(outputs, targets, strict=True)]
    return torch.stack(errors).sum()


def distillation_losses(
    student: UNet2DModel, features: Features, x_t: torch.Tensor, t: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the loss of every block and of the head, whose sum is L_dis.

    The student uses its own time embedding, and its first block starts from x_t through its own
    conv_in, whose output (a skip) is one more target of that block: so every part of the student
    has a teacher, and none is untrained when the teacher leaves. x_t (n, c, h, w), t (n,).
    """
    temb = embed_time(student, t)
    stem = student.conv_in(x_t)
    losses: dict[str, torch.Tensor] = {}
    for i, (name, block) in enumerate(named_blocks(student).items()):
        inputs = replace(features.inputs[name], temb=temb)
        targets = features.outputs[name]
        if i == 0:
            outputs = (stem, *block_outputs(name, block, replace(inputs, hidden=stem)))
            targets = (features.stem, *targets)
        else:
            outputs = block_outputs(name, block, inputs)
        losses[name] = block_loss(outputs, targets)
    losses["head"] = block_loss((head(student, features.last),), (features.prediction,))
    return losses
