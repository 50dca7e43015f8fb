"""The SPADE generator (GauGAN, Park et al. 2019), dense or mobile, at any eight widths.

Label maps enter at a low resolution and, in every block, as scale and shift of its normalisations:
SPADE(x, seg) = norm(x) (1 + gamma(seg)) + beta(seg). Widths as GAN Compression (Li et al. 2020)
numbers them:

    16 c0 first conv and trunk | 16 c1, 16 c2, 16 c3 inside head_0, G_middle_0, G_middle_1
    | 8 c4, 4 c5, 2 c6, c7 outputs of up_0 ... up_3

Inside up_i is its output's width; the SPADE layers of a block with c have 2 c hidden channels.
"Mobile" makes the convolutions that predict gamma and beta separable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.networks.instance_norm import AnySizeInstanceNorm2d
from slimgen.networks.separable_conv import separable_conv

ENTRIES = ("trunk", "head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
FACTORS = (16, 16, 16, 16, 8, 4, 2, 1)  # channels per 1 of the entry
HIDDEN = 2
TAPS = ("head_0", "G_middle_1", "up_1")


@dataclass(frozen=True)
class SpadeShape:
    """What a generator is made of; `widths` are (c0, ..., c7), all ngf for an ordinary one."""

    semantic_channels: int = 36
    out_channels: int = 3
    widths: tuple[int, ...] = (64,) * 8
    mobile: bool = False
    upsamplings: Literal[3, 4, 5, 6] = 5
    norm: Literal["batch", "instance"] = "batch"

    def with_widths(self, widths: Sequence[int]) -> SpadeShape:
        """Return the shape with other widths."""
        return replace(self, widths=tuple(widths))


class Spade(nn.Module):
    """norm(x) (1 + gamma(seg)) + beta(seg), the norm without parameters."""

    def __init__(self, channels: int, hidden: int, shape: SpadeShape) -> None:
        super().__init__()
        self.param_free_norm = (
            nn.BatchNorm2d(channels, affine=False)
            if shape.norm == "batch"
            else AnySizeInstanceNorm2d(channels)
        )
        self.mlp_shared = nn.Sequential(
            nn.Conv2d(shape.semantic_channels, hidden, 3, padding=1), nn.ReLU()
        )
        conv = separable_conv if shape.mobile else nn.Conv2d
        self.mlp_gamma = conv(hidden, channels, 3, padding=1)
        self.mlp_beta = conv(hidden, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
        """Return x (n, c, h, w) modulated by the label map seg (n, s, H, W)."""
        hidden = self.mlp_shared(F.interpolate(seg, size=x.shape[-2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SpadeBlock(nn.Module):
    """A residual block of SPADE layers; `shortcut` gives the skip a 1x1 conv of its own."""

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        *,
        hidden: int,
        shortcut: bool,
        shape: SpadeShape,
    ) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(inputs, inner, 3, padding=1)
        self.conv_1 = nn.Conv2d(inner, outputs, 3, padding=1)
        self.norm_0 = Spade(inputs, hidden, shape)
        self.norm_1 = Spade(inner, hidden, shape)
        self.conv_s = nn.Conv2d(inputs, outputs, 1, bias=False) if shortcut else None
        self.norm_s = Spade(inputs, hidden, shape) if shortcut else None

    def forward(self, x: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
        """Return (n, outputs, h, w) of x (n, inputs, h, w) under the label map seg."""
        y = self.conv_0(F.leaky_relu(self.norm_0(x, seg), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, seg), 0.2))
        if self.conv_s is not None and self.norm_s is not None:
            x = self.conv_s(self.norm_s(x, seg))
        return x + y


class SpadeGenerator(nn.Module):
    """Label maps (n, s, h, w), one-hot, to images (n, out, h, w) in [-1, 1].

    Both sides are multiples of 2^upsamplings: of five, one follows head_0 and one precedes each
    up_i; with six, another stands between the middle blocks; with four, none follows head_0; with
    three, none precedes up_0 either. Where one pixel is left at the lowest resolution, an
    InstanceNorm (of the mobile generator, say) makes it 0. Raises ValueError for a shape or a label
    map that does not fit.
    """

    def __init__(self, shape: SpadeShape) -> None:
        super().__init__()
        if len(shape.widths) != len(ENTRIES) or min(shape.widths) < 1:
            raise ValueError(
                f"widths {list(shape.widths)}: eight positive integers are needed "
                f"({', '.join(ENTRIES)})"
            )
        self.shape = shape
        real = [c * factor for c, factor in zip(shape.widths, FACTORS, strict=True)]
        trunk, *inner = real[:4]
        self.fc = nn.Conv2d(shape.semantic_channels, trunk, 3, padding=1)
        for name, width, channels in zip(ENTRIES[1:4], shape.widths[1:4], inner, strict=True):
            block = SpadeBlock(
                trunk, channels, trunk, hidden=HIDDEN * width, shortcut=False, shape=shape
            )
            self.add_module(name, block)
        before = trunk
        for name, width, after in zip(ENTRIES[4:], shape.widths[4:], real[4:], strict=True):
            block = SpadeBlock(
                before, after, after, hidden=HIDDEN * width, shortcut=True, shape=shape
            )
            self.add_module(name, block)
            before = after
        self.conv_img = nn.Conv2d(before, shape.out_channels, 3, padding=1)

    def forward(self, seg: torch.Tensor) -> torch.Tensor:
        """Return the generated images of the label maps."""
        step = 2**self.shape.upsamplings
        height, width = seg.shape[-2:]
        if height % step or width % step:
            raise ValueError(
                f"label maps of {height}x{width} pixels: with {self.shape.upsamplings} "
                f"upsamplings both sides must be multiples of {step}"
            )
        x = F.interpolate(seg, size=(height // step, width // step), mode="nearest")
        blocks = {name: self.get_submodule(name) for name in ENTRIES[1:]}
        x = blocks["head_0"](self.fc(x), seg)
        if self.shape.upsamplings >= 5:
            x = _double(x)
        x = blocks["G_middle_0"](x, seg)
        if self.shape.upsamplings == 6:
            x = _double(x)
        x = blocks["G_middle_1"](x, seg)
        for name in ENTRIES[4:]:
            if name != "up_0" or self.shape.upsamplings >= 4:
                x = _double(x)
            x = blocks[name](x, seg)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2)))


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def elastic_entries() -> dict[str, list[str]]:
    """Return entry -> the layers whose outputs it decides, as `make_elastic` takes them."""
    entries = {"trunk": ["fc"]}
    for name in ENTRIES[1:]:
        norms = ("norm_0", "norm_1", "norm_s") if name.startswith("up") else ("norm_0", "norm_1")
        hidden = [f"{name}.{norm}.mlp_shared.0" for norm in norms]
        outputs = (
            [f"{name}.conv_0", f"{name}.conv_1"] if name.startswith("up") else [f"{name}.conv_0"]
        )
        entries[name] = outputs + hidden
    return entries


def full_widths(shape: SpadeShape) -> dict[str, int]:
    """Return entry -> its value in `shape`, as `make_elastic` takes them."""
    return dict(zip(ENTRIES, shape.widths, strict=True))
