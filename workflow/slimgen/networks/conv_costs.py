"""What choices cost: parameters (weights, biases), multiply-adds of one image.

Where kernel sizes alone are chosen, the searchable convs cost. An inner width also sets the sizes
of the norm and the time projection between the two convs of a ResBlock, so these are counted too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.block_choices import Choices
from slimgen.networks.searched_unet import searchable_convs
from slimgen.networks.unet import image_shape
from slimgen.networks.unet_blocks import named_blocks, named_resnets


@dataclass(frozen=True)
class ConvShape:
    """A conv of open kernel size: its channels and the size of its output."""

    in_channels: int
    out_channels: int
    height: int
    width: int

    def params(self, kernel: int) -> int:
        """Return k^2 in out + out."""
        return kernel**2 * self.in_channels * self.out_channels + self.out_channels

    def macs(self, kernel: int) -> int:
        """Return h w k^2 in out."""
        return self.height * self.width * kernel**2 * self.in_channels * self.out_channels


@dataclass(frozen=True)
class ResBlockShape:
    """A ResBlock of open kernel sizes and inner width: its convs and its time projection."""

    conv1: ConvShape
    conv2: ConvShape
    time_features: int
    shifts: int  # outputs of the time projection per channel: 2 with scale and shift

    def params(self, choices: Choices) -> int:
        """Return what (width, kernel 1, kernel 2) cost in both convs, norm and projection."""
        width, k1, k2 = choices
        conv1, conv2 = self._convs(width)
        norm, project = 2 * width, (self.time_features + 1) * self.shifts * width
        return conv1.params(k1) + norm + project + conv2.params(k2)

    def macs(self, choices: Choices) -> int:
        """Return what (width, kernel 1, kernel 2) cost in both convs and the projection."""
        width, k1, k2 = choices
        conv1, conv2 = self._convs(width)
        return conv1.macs(k1) + self.time_features * self.shifts * width + conv2.macs(k2)

    def _convs(self, width: int) -> tuple[ConvShape, ConvShape]:
        return replace(self.conv1, out_channels=width), replace(self.conv2, in_channels=width)


@torch.no_grad()
def conv_shapes(unet: UNet2DModel) -> dict[str, tuple[ConvShape, ...]]:
    """Return block -> shapes of its searchable convs, measured in a forward pass without data."""
    channels, height, width = image_shape(unet)
    network = copy.deepcopy(unet).eval()
    nn.Module.to(network, "meta")
    shapes: dict[str, list[ConvShape]] = {}
    for name, places in searchable_convs(network).items():
        found = shapes.setdefault(name, [])
        for resnet, conv in places:
            module = getattr(resnet, conv)

            def note(
                _module: object, args: object, output: torch.Tensor, found: list = found
            ) -> None:
                _, c, h, w = output.shape
                found.append(ConvShape(args[0].shape[1], c, h, w))  # type: ignore[index]

            module.register_forward_hook(note)
    x = torch.empty(1, channels, height, width, device="meta")
    network(x, torch.zeros(1, dtype=torch.long, device="meta"))
    return {name: tuple(found) for name, found in shapes.items()}


def resblock_shapes(unet: UNet2DModel) -> dict[str, tuple[ResBlockShape, ...]]:
    """Return block -> shapes of its ResBlocks, in order."""
    convs = conv_shapes(unet)
    shapes: dict[str, tuple[ResBlockShape, ...]] = {}
    for name, block in named_blocks(unet).items():
        pairs = zip(convs[name][::2], convs[name][1::2], strict=True)
        projections = [resnet.time_emb_proj for resnet in named_resnets(block).values()]
        shapes[name] = tuple(
            ResBlockShape(one, two, p.in_features, p.out_features // one.out_channels)
            for (one, two), p in zip(pairs, projections, strict=True)
        )
    return shapes
