"""Feature networks: what a metric sees of an image. One interface, two networks.

`network(images)` takes uint8 (n, c, h, w) and gives features (n, d) and logits (n, k), float32 on
the CPU: the workflow's own classifier, or the Inception of the FID's authors (`inception.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

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
    """Penultimate activations of a classifier that the workflow trained; images keep their size."""

    network: Classifier
    device: torch.device
    sha256: str
    name: str = "classifier"
    resize: str = "none"

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Raises ValueError for images of another number of channels.
        """
        if images.shape[1] != self.network.shape.in_channels:
            raise ValueError(
                f"the classifier sees {self.network.shape.in_channels} channels, "
                f"the images have {images.shape[1]}"
            )
        features = self.network.features(normalize(images.to(self.device)))
        return features.float().cpu(), self.network.head(features).float().cpu()


def open_feature_network(
    name: str,
    *,
    classifier: Path | None,
    inception_path: str | None,
    inception_sha256: str,
    device: torch.device,
) -> FeatureNetwork:
    """Read the feature network `name`, `classifier` or `inception`.

    Raises ValueError in one line where its file is missing, damaged or another than declared.
    """
    if name == "inception":
        return load_inception(inception_path, sha256=inception_sha256, device=device)
    if classifier is None:
        raise ValueError("features: classifier needs the folder of a classifier (--classifier)")
    network = load_classifier(classifier, device)
    return ClassifierFeatures(network, device, digest(classifier / WEIGHTS))


def features_of(
    network: FeatureNetwork, images: torch.Tensor, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (n, d) and logits (n, k) of uint8 images (n, c, h, w), batch by batch."""
    parts = [network(batch) for batch in images.split(batch_size)]
    return torch.cat([features for features, _ in parts]), torch.cat(
        [logits for _, logits in parts]
    )
