"""What a subnet is worth: its translations of the search split under one of three criteria.

fid: the Frechet distance to the split's targets, in the features of the classifier that rewards
(or of Inception); accuracy: the share that this classifier names by the input's label (in place of
the paper's mIoU); psnr: the mean over aligned pairs. All are turned so that less is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from slimgen.config.gan_compression import SearchSettings
from slimgen.data.dataset import to_uint8
from slimgen.data.pairs import Pairs
from slimgen.evaluation.feature_network import FeatureNetwork, features_of, open_feature_network
from slimgen.evaluation.fidelity import accuracy
from slimgen.evaluation.frechet import Gaussian, factor, fit_gaussian, frechet_distance
from slimgen.evaluation.paired import psnr
from slimgen.networks.elastic_norms import calibrate, norms_to_calibrate
from slimgen.training.job import StageError
from slimgen.training.precision import Compute

LESS_IS_BETTER = {"fid": True, "accuracy": False, "psnr": False}


@dataclass(frozen=True)
class Judge:
    """Scores generators on the first `count` inputs of `pairs`."""

    settings: SearchSettings
    pairs: Pairs
    calibration: Pairs  # the train split
    count: int
    features: FeatureNetwork | None
    reference: Gaussian | None
    reference_factor: torch.Tensor | None
    compute: Compute

    @torch.no_grad()
    def score(self, network: nn.Module) -> float:
        """Return the criterion of an ordinary network, whose batch norms are calibrated first."""
        calibrate(network, self._batches(self.calibration, self.settings.calibration_images))
        network.eval()
        images = []
        for x in self._batches(self.pairs, self.count):
            with self.compute.autocast():
                images.append(to_uint8(network(x)))
        made = torch.cat(images).cpu()
        if self.features is None:
            return float(psnr(made, self.pairs.targets[: self.count]).mean())
        features, logits = features_of(self.features, made, self.settings.batch_size)
        if self.reference is not None:
            return frechet_distance(fit_gaussian(features), self.reference, self.reference_factor)
        labels = self.pairs.input_labels[: self.count]
        right = accuracy(self.features, logits, labels, self.pairs.num_classes)
        assert right is not None
        return right

    def loss(self, score: float) -> float:
        """Return the score so that less is better."""
        return score if LESS_IS_BETTER[self.settings.criterion] else -score

    def _batches(self, pairs: Pairs, count: int) -> Iterator[torch.Tensor]:
        for indices in torch.arange(min(count, len(pairs))).split(self.settings.batch_size):
            yield pairs.batch_inputs(indices, self.compute.device)


def check_calibration(network: nn.Module, calibration: Pairs) -> None:
    """Raise StageError where batch norms must be calibrated and there are no images."""
    norms = norms_to_calibrate(network)
    if norms and not len(calibration):
        raise StageError(
            f"{norms[0]} normalises by running statistics, which every subnet measures anew: the "
            "train split has no inputs to calibrate it"
        )


def make_judge(
    settings: SearchSettings,
    pairs: Pairs,
    calibration: Pairs,
    *,
    classifier: Path | None,
    compute: Compute,
) -> Judge:
    """Return the judge of a search.

    Raises StageError where the criterion needs what the data or the inputs do not have.
    """
    criterion, count = settings.criterion, min(settings.num_images, len(pairs))
    features = reference = reference_factor = None
    if criterion == "psnr" and not pairs.aligned:
        raise StageError("criterion psnr: inputs and targets are not aligned")
    if criterion != "psnr":
        try:
            features = open_feature_network(
                settings.features,
                classifier=classifier,
                inception_path=settings.inception_path,
                inception_sha256=settings.inception_sha256,
                device=compute.device,
                pool=settings.pool,
            )
            seen, logits = features_of(
                features, pairs.targets[: settings.num_images], settings.batch_size
            )
            if criterion == "fid":
                reference = fit_gaussian(seen)
                reference_factor = factor(reference.cov)
            elif accuracy(features, logits[:1], pairs.input_labels[:1], pairs.num_classes) is None:
                raise ValueError(
                    "criterion accuracy: inputs without labels of the classifier's classes"
                )
        except ValueError as error:
            raise StageError(f"reward classifier: {error}") from None
    return Judge(
        settings, pairs, calibration, count, features, reference, reference_factor, compute
    )
