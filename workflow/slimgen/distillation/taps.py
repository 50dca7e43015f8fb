"""Feature taps: everything that a teacher's blocks receive and return, from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.networks.unet_blocks import BlockInputs, Outputs, block_outputs, named_blocks, walk


@dataclass(frozen=True)
class Features:
    """One teacher pass: X_i (`inputs`) and Y_i (`outputs`) of each block, and the prediction."""

    inputs: dict[str, BlockInputs]
    outputs: dict[str, Outputs]
    prediction: torch.Tensor  # (n, c, h, w)

    @property
    def stem(self) -> torch.Tensor:
        """Return the output of conv_in (n, c, h, w), the first block's input."""
        return next(iter(self.inputs.values())).hidden

    @property
    def last(self) -> torch.Tensor:
        """Return the last block's output (n, c, h, w), the head's input."""
        return next(reversed(self.outputs.values()))[-1]


@torch.no_grad()
def teacher_features(teacher: UNet2DModel, x_t: torch.Tensor, t: torch.Tensor) -> Features:
    """Return the features of x_t (n, c, h, w) at timesteps t (n,), without gradients."""
    blocks = named_blocks(teacher)
    inputs: dict[str, BlockInputs] = {}
    outputs: dict[str, Outputs] = {}

    def run(name: str, received: BlockInputs) -> Outputs:
        inputs[name] = received
        outputs[name] = block_outputs(name, blocks[name], received)
        return outputs[name]

    prediction = walk(teacher, x_t, t, run)
    return Features(inputs, outputs, prediction)
