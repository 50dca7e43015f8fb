"""Feature networks: what a metric sees of an image. One interface, two networks.

`network(images)` takes uint8 (n, c, h, w) and gives features (n, d) and logits (n, k), float32 on
the CPU: the workflow's own classifier, or the Inception of the FID's authors (`inception.py`).

A classifier of another data set sees larger images mean-pooled to its size. The means stay floats:
images are rounded to 8 bits once, as a PNG stores them, and not a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch.nn import functional as F

from slimgen.data.dataset import normalize
from slimgen.data.files import digest
from slimgen.evaluation.inception import load_inception
from slimgen.networks.classifier import WEIGHTS, Classifier, load_classifier


class FeatureNetwork(Protocol):
    """Features and logits of images, and what a record says about their origin."""

    @property
    def name(self) -> str:
        """Return `classifier` or `inception`."""
        ...

    @property
    def sha256(self) -> str:
        """Return the digest of the network's file."""
        ...

    @property
    def resize(self) -> str:
        """Return how images reach the network's input size."""
        ...

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, d) and logits (n, k), float32 on the CPU, of uint8 (n, c, h, w)."""
        ...


@dataclass(frozen=True)
class ClassifierFeatures:
    """Penultimate activations of a classifier that the workflow trained.

    Images keep their size, or are mean-pooled by `pool`.
    """

    network: Classifier
    device: torch.device
    sha256: str
    pool: int = 1
    name: str = "classifier"

    @property
    def resize(self) -> str:
        """Return how images reach the classifier."""
        return "none" if self.pool == 1 else f"mean over {self.pool}x{self.pool} pixels, as floats"

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Raises ValueError for images of another number of channels, or whose sides `pool` does not
        divide.
        """
        if images.shape[1] != self.network.shape.in_channels:
            raise ValueError(
                f"the classifier sees {self.network.shape.in_channels} channels, "
                f"the images have {images.shape[1]}"
            )
        x = pooled(normalize(images.to(self.device)), self.pool)
        features = self.network.features(x)
        return features.float().cpu(), self.network.head(features).float().cpu()


def pooled(x: torch.Tensor, pool: int) -> torch.Tensor:
    """Return the means (n, c, h / pool, w / pool) over squares of x (n, c, h, w).

    Raises ValueError where `pool` does not divide height and width.
    """
    height, width = x.shape[-2:]
    if height % pool or width % pool:
        raise ValueError(f"pool = {pool}: it does not divide images of {height} x {width} pixels")
    return F.avg_pool2d(x, pool) if pool > 1 else x


def open_feature_network(
    name: str,
    *,
    classifier: Path | None,
    inception_path: str | None,
    inception_sha256: str,
    device: torch.device,
    pool: int = 1,
) -> FeatureNetwork:
    """Read the feature network `name`, `classifier` or `inception`.

    `pool`: by how much a classifier's images are mean-pooled; Inception resizes by itself. Raises
    ValueError in one line where a file is missing, damaged or another than declared.
    """
    if name == "inception":
        if pool != 1:
            raise ValueError(f"pool = {pool}: Inception resizes images by itself")
        return load_inception(inception_path, sha256=inception_sha256, device=device)
    if classifier is None:
        raise ValueError("features: classifier needs the folder of a classifier (--classifier)")
    network = load_classifier(classifier, device)
    return ClassifierFeatures(network, device, digest(classifier / WEIGHTS), pool)


def features_of(
    network: FeatureNetwork, images: torch.Tensor, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (n, d) and logits (n, k) of uint8 images (n, c, h, w), batch by batch."""
    parts = [network(batch) for batch in images.split(batch_size)]
    return torch.cat([features for features, _ in parts]), torch.cat(
        [logits for _, logits in parts]
    )
