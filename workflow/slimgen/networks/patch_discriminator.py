"""PatchGAN discriminators: one logit per patch (Isola et al. 2017), at several scales (SPADE).

PatchGAN: convolutions 4x4, n of stride 2 and two of stride 1, InstanceNorm except in the first and
last, LeakyReLU 0.2. The multiscale one (Wang et al. 2018; Park et al. 2019) runs copies on the
image at 1, 1/2, 1/4 ... of its size, spectrally normalised, and returns every layer's activations
for feature matching.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Images (n, c, h, w), a condition concatenated or not, to logits (n, 1, h', w').

    `num_layers` convolutions halve the image; widths are ndf, 2 ndf, ... up to 8 ndf. Raises
    ValueError for an image that leaves no patch.
    """

    def __init__(self, in_channels: int, *, ndf: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"a PatchGAN of {num_layers} layers: at least 1 is needed")
        self.num_layers = num_layers
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, ndf, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        before = ndf
        for level in range(1, num_layers + 1):
            after = ndf * min(2**level, 8)
            stride = 2 if level < num_layers else 1
            layers += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
            before = after
        self.model = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one logit per patch."""
        smallest = 3 * 2**self.num_layers  # two 4x4 convs of stride 1 take two pixels
        if min(x.shape[-2:]) < smallest:
            raise ValueError(
                f"images of {x.shape[-2]}x{x.shape[-1]} pixels: a PatchGAN of {self.num_layers} "
                f"layers needs at least {smallest}; use fewer layers"
            )
        return self.model(x)


class ScaleDiscriminator(nn.Module):
    """One scale of the multiscale discriminator; returns each layer's activations, logits last."""

    def __init__(self, in_channels: int, *, ndf: int, num_layers: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(in_channels, ndf, 4, stride=2, padding=2), nn.LeakyReLU(0.2))
        ]
        before = ndf
        for level in range(1, num_layers):
            after = min(2 * before, 8 * ndf)
            stride = 1 if level == num_layers - 1 else 2
            # No bias: the norm behind it would take it away.
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=2, bias=False)
            stages.append(
                nn.Sequential(spectral_norm(conv), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2))
            )
            before = after
        stages.append(nn.Conv2d(before, 1, 4, padding=2))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the activations of x (n, c, h, w); the last are logits (n, 1, h', w')."""
        activations = []
        for stage in self.stages:
            x = stage(x)
            activations.append(x)
        return activations


class MultiscaleDiscriminator(nn.Module):
    """Images (n, c, h, w) to each scale's activations; `[scale][-1]` are the logits."""

    def __init__(
        self, in_channels: int, *, ndf: int = 64, num_layers: int = 4, num_scales: int = 2
    ) -> None:
        super().__init__()
        if num_layers < 2 or num_scales < 1:
            raise ValueError(
                f"a multiscale discriminator of {num_scales} scales and {num_layers} layers: at "
                "least 1 and 2 are needed"
            )
        self.scales = nn.ModuleList(
            ScaleDiscriminator(in_channels, ndf=ndf, num_layers=num_layers)
            for _ in range(num_scales)
        )

    def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """Return the activations of every scale, the finest first."""
        found = []
        for scale in self.scales:
            found.append(scale(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return found
