"""A small classifier and images for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slimgen.networks.classifier import Classifier, ClassifierShape, save_classifier

SHAPE = ClassifierShape(in_channels=1, num_classes=4, channels=(8, 16), features=12)


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory) -> Path:
    """A seeded classifier with random weights, saved."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("classifier")
    save_classifier(folder, Classifier(SHAPE))
    return folder


@pytest.fixture(scope="session")
def grey_images() -> torch.Tensor:
    """Smooth random images uint8 (60, 1, 8, 8)."""
    coarse = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    return (255 * smooth).round().to(torch.uint8)
