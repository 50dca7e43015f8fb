"""What a generator is worth: scores under the reward classifier, never the one that reports.

The Inception score rewards; the Frechet distance to the validation split selects. Images of a
partial generator are enlarged (nearest) to the data's size before the classifier sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from slimgen.data.dataset import Images, to_uint8
from slimgen.evaluation.feature_network import FeatureNetwork, features_of, open_feature_network
from slimgen.evaluation.fidelity import inception_score
from slimgen.evaluation.frechet import fit_gaussian, frechet_distance
from slimgen.networks.autogan_generator import AutoGanGenerator
from slimgen.training.job import StageError
from slimgen.training.precision import Compute


def load_reward_classifier(folder: Path, images: Images, device: torch.device) -> FeatureNetwork:
    """Return the classifier that rewards.

    Raises StageError where it cannot be read or sees images of other channels.
    """
    try:
        network = open_feature_network(
            "classifier",
            classifier=folder,
            inception_path=None,
            inception_sha256="",
            device=device,
        )
        network(images.images[:1])
    except ValueError as error:
        raise StageError(f"reward classifier {folder}: {error}") from None
    return network


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterator[torch.Tensor]) -> None:
    """Replace all statistics of batch norms by means over `batches` of z; end in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    network.train()
    for z in batches:
        network(z)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@dataclass(frozen=True)
class Judge:
    """The reward classifier, and how many images of which size it is shown."""

    network: FeatureNetwork
    compute: Compute
    size: int  # of the data
    num_images: int
    batch_size: int
    splits: int

    def noise(self, generator: AutoGanGenerator, rng: torch.Generator, count: int) -> torch.Tensor:
        """Return z (count, z_dim)."""
        return torch.randn(count, generator.z_dim, generator=rng, device=self.compute.device)

    @torch.no_grad()
    def look(
        self, generator: AutoGanGenerator, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, d) and logits (n, k) of images of a generator in eval mode."""
        parts = []
        for done in range(0, self.num_images, self.batch_size):
            count = min(self.batch_size, self.num_images - done)
            z = self.noise(generator, rng, count)
            with self.compute.autocast():
                images = to_uint8(generator(z))
            factor = self.size // images.shape[-1]
            images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            parts.append(self.network(images))
        return torch.cat([features for features, _ in parts]), torch.cat([k for _, k in parts])

    def reward(
        self, generator: AutoGanGenerator, rng: torch.Generator, *, calibration_batches: int
    ) -> float:
        """Return the Inception score, after a recalibration where it has batches."""
        generator.eval()
        if calibration_batches:
            batches = range(calibration_batches)
            recalibrate(generator, (self.noise(generator, rng, self.batch_size) for _ in batches))
        return inception_score(self.look(generator, rng)[1], splits=self.splits).value

    def distance_and_score(
        self, generator: AutoGanGenerator, validation: Images, rng: torch.Generator
    ) -> tuple[float, float]:
        """Return the Frechet distance to the validation split, and the Inception score."""
        features, logits = self.look(generator, rng)
        reference, _ = features_of(self.network, validation.images, self.batch_size)
        distance = frechet_distance(fit_gaussian(features), fit_gaussian(reference))
        return distance, inception_score(logits, splits=self.splits).value
