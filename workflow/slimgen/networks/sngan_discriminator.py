"""AutoGAN's discriminator: residual blocks as in SN-GAN that grow in number with the generator.

Spectral norm (Miyato et al. 2018, one power iteration a pass) is on every layer. Stage s, which
sees the images of s + 1 cells, uses the first s + 1 blocks and the last one; only the first two
halve the image. Then ReLU, a sum over all pixels, and one linear layer without bias.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from slimgen.networks.gan_init import init_weights

HALVING = 2  # blocks that halve the image


class FirstBlock(nn.Module):
    """conv - ReLU - conv - halve, plus halve - conv 1x1; no activation before raw pixels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, width, h / 2, w / 2)."""
        h = F.avg_pool2d(self.conv2(F.relu(self.conv1(x))), 2)
        return h + self.shortcut(F.avg_pool2d(x, 2))


class Block(nn.Module):
    """ReLU - conv - ReLU - conv, halved or not, plus the input (through conv 1x1 if halved)."""

    def __init__(self, width: int, *, halve: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(width, width, 1) if halve else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, width, h, w), or half that size."""
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        if self.shortcut is None:
            return x + h
        return F.avg_pool2d(h, 2) + F.avg_pool2d(self.shortcut(x), 2)


class SnganDiscriminator(nn.Module):
    """`discriminator(images, stage)`: (n, channels, s, s) to logits (n,), float32."""

    def __init__(self, *, width: int, cells: int, channels: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            FirstBlock(channels, width) if i == 0 else Block(width, halve=i < HALVING)
            for i in range(cells)
        )
        self.last = Block(width, halve=False)
        self.head = nn.Linear(width, 1, bias=False)
        init_weights(self)
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                spectral_norm(module)

    def forward(self, images: torch.Tensor, stage: int) -> torch.Tensor:
        """Return one logit per image."""
        x = images
        for block in self.blocks[: stage + 1]:
            x = block(x)
        x = F.relu(self.last(x)).sum((2, 3))
        return self.head(x).float().squeeze(1)
