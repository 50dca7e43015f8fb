"""The ResNet generator of pix2pix and CycleGAN, dense or separable, at any eight widths.

Johnson et al. 2016 as in CycleGAN: a 7x7 stem, two downsamplings, residual blocks, two upsamplings,
a 7x7 head. GAN Compression (Li et al. 2020) makes the blocks' convolutions separable ("mobile") and
gives each layer its own width:

    c0 stem | 2 c1, 4 c2 downsamplings | 4 c3, 4 c4, 4 c5 inside the first, second and last third
    of the blocks | 2 c6, c7 upsamplings

4 c2 is also the width between the blocks (the trunk).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from slimgen.networks.separable_conv import separable_conv, separable_up

Part = Literal["down", "blocks", "up"]
ENTRIES = ("stem", "down_1", "down_2", "blocks_1", "blocks_2", "blocks_3", "up_1", "up_2")
FACTORS = (1, 2, 4, 4, 4, 4, 2, 1)  # channels per 1 of the entry


@dataclass(frozen=True)
class ResnetShape:
    """What a generator is made of; `widths` are (c0, ..., c7), all ngf for an ordinary one."""

    in_channels: int = 3
    out_channels: int = 3
    widths: tuple[int, ...] = (64,) * 8
    blocks: int = 9
    separable: tuple[Part, ...] = ()  # ("blocks",): the mobile generator
    dropout: float = 0.0
    clamp_input: bool = False  # to [-1, 1]; the published supernets and subnets do
    first_of_third: bool = False  # only these blocks have inner widths, the others the trunk's

    def with_widths(self, widths: Sequence[int]) -> ResnetShape:
        """Return the shape with other widths."""
        return replace(self, widths=tuple(widths))


def third(block: int, blocks: int) -> int:
    """Return in which third (0, 1, 2) a block lies."""
    return 3 * block // blocks


def inner_entry(shape: ResnetShape, block: int) -> str:
    """Return which entry decides a block's inner width.

    `first_of_third` is how the first release's "legacy" generator (edges2shoes) was built.
    """
    number = third(block, shape.blocks)
    starts = block == 0 or third(block - 1, shape.blocks) < number
    return f"blocks_{1 + number}" if starts or not shape.first_of_third else "down_2"


class ResidualBlock(nn.Module):
    """x + [pad, conv, norm, relu, (dropout), pad, conv, norm] with `inner` channels inside."""

    def __init__(self, channels: int, inner: int, *, separable: bool, dropout: float) -> None:
        super().__init__()
        conv = separable_conv if separable else nn.Conv2d
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            conv(channels, inner, 3),
            nn.InstanceNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            conv(inner, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, channels, h, w) of the same."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Images (n, in, h, w) to images (n, out, h, w) in [-1, 1]; h and w are multiples of 4.

    Raises ValueError for a shape or an image that does not fit.
    """

    def __init__(self, shape: ResnetShape) -> None:
        super().__init__()
        if len(shape.widths) != len(ENTRIES) or min(shape.widths) < 1:
            raise ValueError(
                f"widths {list(shape.widths)}: eight positive integers are needed "
                f"({', '.join(ENTRIES)})"
            )
        if shape.blocks < 3:
            raise ValueError(f"{shape.blocks} blocks: at least 3 are needed")
        self.shape = shape
        real = dict(zip(ENTRIES, map(operator.mul, shape.widths, FACTORS), strict=True))
        stem, down_1, trunk, up_1, up_2 = (
            real[name] for name in ("stem", "down_1", "down_2", "up_1", "up_2")
        )
        down = separable_conv if "down" in shape.separable else nn.Conv2d
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(shape.in_channels, stem, 7),
            *_norm_relu(stem),
            down(stem, down_1, 3, stride=2, padding=1),
            *_norm_relu(down_1),
            down(down_1, trunk, 3, stride=2, padding=1),
            *_norm_relu(trunk),
        ]
        layers += [
            ResidualBlock(
                trunk,
                real[inner_entry(shape, block)],
                separable="blocks" in shape.separable,
                dropout=shape.dropout,
            )
            for block in range(shape.blocks)
        ]
        for before, after in ((trunk, up_1), (up_1, up_2)):
            layers += [
                separable_up(before, after)
                if "up" in shape.separable
                else nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1),
                *_norm_relu(after),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(up_2, shape.out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the generated images of x (n, in, h, w)."""
        if x.shape[-2] % 4 or x.shape[-1] % 4:
            raise ValueError(
                f"images of {x.shape[-2]}x{x.shape[-1]} pixels: the ResNet generator halves twice, "
                "both sides must be multiples of 4"
            )
        return self.model(x.clamp(-1, 1) if self.shape.clamp_input else x)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU()]


def tap_paths(shape: ResnetShape) -> tuple[str, ...]:
    """Return the modules distilled from: the encoder's end and the end of each third of blocks."""
    ends = [
        block
        for block in range(shape.blocks)
        if block == shape.blocks - 1 or third(block, shape.blocks) < third(block + 1, shape.blocks)
    ]
    return ("model.9", *(f"model.{10 + block}" for block in ends))


def elastic_entries(shape: ResnetShape) -> dict[str, list[str]]:
    """Return entry -> the layers whose outputs it decides, as `make_elastic` takes them."""
    down = ".2" if "down" in shape.separable else ""
    inside = ".2" if "blocks" in shape.separable else ""
    up = ".2" if "up" in shape.separable else ""
    after = 10 + shape.blocks
    entries = {
        "stem": ["model.1"],
        "down_1": [f"model.4{down}"],
        "down_2": [f"model.7{down}"],
        "blocks_1": [],
        "blocks_2": [],
        "blocks_3": [],
        "up_1": [f"model.{after}{up}"],
        "up_2": [f"model.{after + 3}{up}"],
    }
    for block in range(shape.blocks):
        path = f"model.{10 + block}.conv_block.1{inside}"
        entries[inner_entry(shape, block)].append(path)
    return entries


def full_widths(shape: ResnetShape) -> dict[str, int]:
    """Return entry -> its value in `shape`, as `make_elastic` takes them."""
    return dict(zip(ENTRIES, shape.widths, strict=True))


def widths_of(numbers: Sequence[int]) -> tuple[int, ...]:
    """Return the eight widths of a vector of eight, or of the first release's six.

    Six (c0, c1, c2, inner, c6, c7) have one inner width for all blocks. Raises ValueError for any
    other length.
    """
    if len(numbers) == 6:
        c0, c1, c2, inner, c6, c7 = numbers
        return (c0, c1, c2, inner, inner, inner, c6, c7)
    if len(numbers) != len(ENTRIES):
        raise ValueError(f"{len(numbers)} widths: a ResNet generator has 8 (or, formerly, 6)")
    return tuple(numbers)
