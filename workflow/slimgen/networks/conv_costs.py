"""What a searchable conv costs: parameters (weights and biases), multiply-adds of one image."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.searched_unet import searchable_convs
from slimgen.networks.unet import image_shape


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
