"""The small classifier whose penultimate layer measures images where Inception is not used.

Convolutions of 3x3 with group normalisation, the image halved between them while it is larger than
4 pixels, averaged to 2x2 at the end; then one linear layer of features and one of logits. Any size
from 4x4 on and any number of channels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.data.files import read_json, write_json
from slimgen.networks.tensor_file import absent, load_weights, save_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
GROUP = 8  # channels per normalisation group
SMALLEST = 4  # images of this size and below are not halved


@dataclass(frozen=True)
class ClassifierShape:
    """What a classifier is made of, as in config.json."""

    in_channels: int
    num_classes: int
    channels: tuple[int, ...] = (32, 64, 64)
    features: int = 64
    dropout: float = 0.2


class Classifier(nn.Module):
    """logits (n, num_classes) = head(features), features (n, features) of images in [-1, 1].

    Raises ValueError for channels that are not multiples of 8.
    """

    def __init__(self, shape: ClassifierShape) -> None:
        super().__init__()
        if any(c % GROUP for c in shape.channels):
            raise ValueError(
                f"classifier channels {list(shape.channels)}: use multiples of {GROUP}"
            )
        self.shape = shape
        widths = (shape.in_channels, *shape.channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(c // GROUP, c) for c in shape.channels)
        self.embed = nn.Linear(4 * widths[-1], shape.features)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.features, shape.num_classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penultimate activations (n, features) of x (n, c, h, w)."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if i > 0 and min(x.shape[-2:]) > SMALLEST:
                x = F.max_pool2d(x, 2)
            x = F.relu(norm(conv(x)))
        return F.relu(self.embed(F.adaptive_avg_pool2d(x, 2).flatten(1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, num_classes) of x (n, c, h, w)."""
        return self.head(self.dropout(self.features(x)))


def save_classifier(folder: Path, network: Classifier) -> None:
    """Write config.json and model.safetensors, each whole or not at all."""
    save_tensors(folder / WEIGHTS, network.state_dict())
    write_json(folder / CONFIG, {"class": "Classifier", **asdict(network.shape)})


def load_classifier(folder: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a classifier in eval mode.

    Raises ValueError naming the file that is missing, damaged or of another kind.
    """
    for name in (CONFIG, WEIGHTS):
        if fault := absent(folder / name):
            raise ValueError(fault)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.pop("class", None) != "Classifier":
        raise ValueError(f"{folder / CONFIG}: not the config of a Classifier")
    try:
        network = Classifier(ClassifierShape(**(config | {"channels": tuple(config["channels"])})))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    load_weights(folder / WEIGHTS, network)
    return network.to(device).eval().requires_grad_(False)
