"""LPIPS distance with VGG16 features (Zhang et al. 2018), weights from a local safetensors file.

d(a, b) = sum_l mean_pixels sum_c w_lc (f_l(a) / |f_l(a)| - f_l(b) / |f_l(b)|)_c^2
over the outputs of five ReLU layers. The file holds torchvision's `features.{i}.weight` and
`.bias` of VGG16's 13 convolutions and `lin{l}.weight` (1, C, 1, 1), l = 0 .. 4; nothing is
downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from slimgen.networks.tensor_file import load_foreign

STAGES: tuple[tuple[int, ...], ...] = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]
SIZE = 224  # images are resized to this, whatever their size


class Lpips(nn.Module):
    """`lpips(a, b)`: distances (n,) of images (n, c, h, w) in [-1, 1], c = 1 (repeated) or 3."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []  # indices of the last ReLU of each stage
        before = 3
        for stage in STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in stage:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self.taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        for number, stage in enumerate(STAGES):
            self.add_module(f"lin{number}", nn.Conv2d(stage[-1], 1, 1, bias=False))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def normalized_features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the five feature maps, each pixel's vector of length 1."""
        x = F.interpolate((images.float() + 1) / 2, (SIZE, SIZE), mode="bilinear")
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                # The small constant also keeps the square root's gradient finite where all is 0.
                found.append(x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt())
        return found

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the distance of each pair, (n,), computed in float32."""
        pairs = zip(self.normalized_features(a), self.normalized_features(b), strict=True)
        total = a.new_zeros(len(a), dtype=torch.float32)
        for number, (left, right) in enumerate(pairs):
            weigh = self.get_submodule(f"lin{number}")
            total = total + weigh((left - right).square()).mean((1, 2, 3))
        return total


def load_lpips(path: Path) -> Lpips:
    """Read LPIPS from a safetensors file, frozen.

    Raises ValueError naming the file where it is missing, unreadable, or its tensors do not fit.
    """
    network = Lpips()
    load_foreign(path, network, name="LPIPS")
    return network
