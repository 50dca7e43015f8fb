"""Scores of generated images from their features: FID, q, Inception score, KID, precision, recall.

Score, distance and neighbourhoods are torch-fidelity's own functions, called on our features:
IS (Salimans et al. 2016), KID (Binkowski et al. 2018), precision and recall (Kynkaanniemi et al.
2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from slimgen.evaluation.feature_network import FeatureNetwork
from slimgen.evaluation.frechet import fit_gaussian, frechet_distance
from slimgen.evaluation.reference import Reference

SMALLEST_LOG = -700.0  # exp of it is still above the smallest float64
SEED = 2020  # of the order of images in the splits of the score and of the subsets of KID


@dataclass(frozen=True)
class Score:
    """A value and its standard deviation over splits or subsets, where there are any."""

    value: float
    spread: float | None = None


def inception_score(logits: torch.Tensor, *, splits: int) -> Score:
    """Return exp E KL(p(y|x) || p(y)) of logits (n, k), mean over splits of the shuffled images.

    Raises ValueError for fewer images than splits.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    if len(logits) < splits:
        raise ValueError(f"{len(logits)} images cannot be divided into {splits} splits")
    # A probability that underflows to 0 would make the divergence 0 (log 0 - log 0), not a number.
    gaps = (logits.double() - logits.double().amax(1, keepdim=True)).clamp(min=SMALLEST_LOG)
    result = isc_features_to_metric(gaps.cpu(), splits, True, SEED)
    return Score(result["inception_score_mean"], result["inception_score_std"])


def kernel_distance(
    features: torch.Tensor, reference: torch.Tensor, *, subsets: int, subset_size: int
) -> Score:
    """Return the squared MMD under the cubic kernel, mean over random subsets.

    A subset never holds more images than the smaller side has.
    """
    from torch_fidelity.metric_kid import kid_features_to_metric

    result = kid_features_to_metric(
        features.cpu().double(),
        reference.cpu().double(),
        kid_subsets=subsets,
        kid_subset_size=min(subset_size, len(features), len(reference)),
        rng_seed=SEED,
        verbose=False,
    )
    return Score(result["kernel_inception_distance_mean"], result["kernel_inception_distance_std"])


def precision_recall(
    features: torch.Tensor, reference: torch.Tensor, *, neighbours: int
) -> tuple[float, float]:
    """Return the share of generated images within the reference's manifold, and the reverse.

    Raises ValueError where a side has no k-th neighbour.
    """
    from torch_fidelity.metric_prc import prc_features_to_metric

    fewest = min(len(features), len(reference))
    if fewest <= neighbours:
        raise ValueError(f"{fewest} images have no neighbour number {neighbours}")
    result = prc_features_to_metric(  # generated first, real second (torch-fidelity >= 0.4)
        features.double(),
        reference.double(),
        prc_neighborhood=neighbours,
        save_cpu_ram=True,
        verbose=False,
    )
    return result["precision"], result["recall"]


def accuracy(
    network: FeatureNetwork, logits: torch.Tensor, labels: torch.Tensor, num_classes: int
) -> float | None:
    """Return the share of images that a classifier names by their labels (n,).

    None where that says nothing: images without labels (-1), a classifier of other classes,
    Inception.
    """
    if network.name != "classifier" or logits.shape[1] != num_classes or bool((labels < 0).any()):
        return None
    return float((logits.argmax(1) == labels).double().mean())


def quality(fid: float, *, floor: float, gauss: float) -> float:
    """Return q: 0 for images as good as train images, 1 for a Gaussian fit to their pixels.

    Raises ValueError where the Gaussian is no worse than the floor: the features see nothing.
    """
    if gauss <= floor:
        raise ValueError(
            f"FID of the Gaussian fit {gauss:.4g} is not above the floor {floor:.4g}: these "
            "features see no difference, so q means nothing (perhaps too few train or report "
            "images, or a classifier that needs more steps)"
        )
    return (fid - floor) / (gauss - floor)


def fidelity(
    features: torch.Tensor,
    logits: torch.Tensor,
    reference: Reference,
    *,
    is_splits: int,
    kid_subsets: int,
    kid_subset_size: int,
    neighbours: int,
) -> dict[str, Score]:
    """Return `fid`, `q`, `inception_score`, `kid`, `precision`, `recall` by images' features.

    Raises ValueError where there are too few images for one of them.
    """
    precision, recall = precision_recall(features, reference.features, neighbours=neighbours)
    fid = frechet_distance(fit_gaussian(features), reference.gaussian, reference.factor)
    return {
        "fid": Score(fid),
        "q": Score(quality(fid, floor=reference.floor, gauss=reference.gauss)),
        "inception_score": inception_score(logits, splits=is_splits),
        "kid": kernel_distance(
            features, reference.features, subsets=kid_subsets, subset_size=kid_subset_size
        ),
        "precision": Score(precision),
        "recall": Score(recall),
    }
