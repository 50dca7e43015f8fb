"""What a ResBlock of a supernet is made of: a conv per kernel size, and layers of elastic width.

The inner width is the number of channels between the two convs: outputs of the first, norm, time
projection, inputs of the second. A narrower ResBlock has the first channels of the widest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.config.whole_groups import whole_groups
from slimgen.networks.block_choices import Choices
from slimgen.networks.elastic import ElasticLinear
from slimgen.networks.elastic_layers import elastic
from slimgen.networks.searched_unet import resized
from slimgen.networks.unet_blocks import named_blocks, named_resnets


class ChoiceConv2d(nn.Module):
    """One conv per kernel size in place of `conv`, each with random weights of its own."""

    def __init__(self, conv: nn.Conv2d, kernels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleDict({str(kernel): resized(conv, kernel) for kernel in kernels})

    def make_elastic(self) -> None:
        """Let every conv compute with some of its channels."""
        for kernel, conv in self.convs.items():
            self.convs[kernel] = elastic(conv, f"conv of size {kernel}")

    def forward(self, x: torch.Tensor, kernel: int, width: int | None = None) -> torch.Tensor:
        """Return the conv of size `kernel` applied to x (n, c, h, w), all or `width` outputs."""
        conv = self.convs[str(kernel)]
        return conv(x) if width is None else conv(x, outputs=width)


@dataclass(frozen=True)
class WidthChoice:
    """The place in a program where the outputs of the next conv are chosen."""


def inner_widths(unet: UNet2DModel, fractions: Sequence[float]) -> dict[str, tuple[Choices, ...]]:
    """Return block -> the inner widths that each of its ResBlocks can have, in channels.

    Raises ValueError for a fraction that is not whole groups of a ResBlock's norm.
    """
    found: dict[str, tuple[Choices, ...]] = {}
    for name, block in named_blocks(unet).items():
        norms = [resnet.norm2 for resnet in named_resnets(block).values()]
        found[name] = tuple(tuple(_width(norm, f) for f in fractions) for norm in norms)
    return found


def _width(norm: nn.GroupNorm, fraction: float) -> int:
    return whole_groups(fraction, norm.num_groups) * (norm.num_channels // norm.num_groups)


def make_elastic(resnet: ResnetBlock2D, path: str) -> None:
    """Let a ResBlock, whose convs are choices already, compute with part of its inner width."""
    layers: Any = resnet
    layers.conv1.make_elastic()
    layers.conv2.make_elastic()
    layers.norm2 = elastic(layers.norm2, f"{path}.norm2")
    layers.time_emb_proj = elastic(layers.time_emb_proj, f"{path}.time_emb_proj")


def has_widths(resnet: ResnetBlock2D) -> bool:
    """Return whether a ResBlock of a supernet chooses its inner width."""
    return isinstance(resnet.time_emb_proj, ElasticLinear)


def time_shift(resnet: ResnetBlock2D, temb: torch.Tensor, width: int) -> torch.Tensor:
    """Return the projection of temb (n, e): (n, width), twice as many with scale and shift."""
    project, full = resnet.time_emb_proj, resnet.norm2.num_channels
    if not isinstance(project, ElasticLinear):
        return project(temb)
    shifts = project.out_features // full  # 2 with scale and shift
    return project(temb, outputs=((full, width),) * shifts)


def chosen_layers(resnet: ResnetBlock2D, choices: Sequence[int]) -> dict[str, nn.Module]:
    """Return name -> layer of a ResBlock that follows from its choices: kernels, maybe a width."""
    *width, k1, k2 = choices
    layers: Any = resnet
    conv1, conv2 = layers.conv1.convs[str(k1)], layers.conv2.convs[str(k2)]
    if not width:
        return {"conv1": conv1, "conv2": conv2}
    norm, project = layers.norm2, layers.time_emb_proj
    kept = ((norm.num_channels, width[0]),)
    inputs, features = conv1.in_channels, project.in_features
    shifts = project.out_features // norm.num_channels
    return {
        "conv1": conv1.extract(((inputs, inputs),), kept),
        "norm2": norm.extract(kept),
        "time_emb_proj": project.extract(((features, features),), kept * shifts),
        "conv2": conv2.extract(kept),
    }
