"""VGG19 features for the perceptual loss of pix2pixHD and SPADE, weights from a local file.

L = sum_l w_l mean |f_l(a) - f_l(b)| over the first ReLU of each of the five stages, with
w = 1/32, 1/16, 1/8, 1/4, 1. The safetensors file holds torchvision's `features.{i}.weight` and
`.bias`; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.networks.tensor_file import load_foreign

STAGES = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,))  # up to the last ReLU used
WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]


class Vgg19(nn.Module):
    """`vgg(a, b)`: mean distance, 0-d, of images (n, c, h, w) in [-1, 1], c = 1 or 3, h, w >= 16.

    Gradients flow to `a` alone.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []  # indices of the first ReLU of each stage
        before = 3
        for stage in STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            self.taps.append(len(layers) + 1)
            for width in stage:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def activations(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the five feature maps of images in [-1, 1]."""
        x = (((images.float() + 1) / 2).expand(-1, 3, -1, -1) - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the weighted distance of the features, averaged over the images."""
        with torch.no_grad():
            wanted = self.activations(b)
        terms = zip(WEIGHTS, self.activations(a), wanted, strict=True)
        return torch.stack([weight * F.l1_loss(x, y) for weight, x, y in terms]).sum()


def load_vgg19(path: Path) -> Vgg19:
    """Read VGG19 from a safetensors file, frozen.

    Raises ValueError naming the file where it is missing, unreadable, or its tensors do not fit.
    """
    network = Vgg19()
    load_foreign(path, network, name="VGG19")
    return network
