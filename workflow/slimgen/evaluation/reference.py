"""What generated images are compared with: the report split under one feature network, one file.

reference.npz holds the features, their mean and covariance, a factor of the covariance
(`frechet.py`), which feature network they are of and how images reach it, and the two distances
that q lies between. Whoever measures opens that very network with `open_reference_network`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from slimgen.data.files import atomic_path
from slimgen.evaluation.feature_network import FeatureNetwork, open_feature_network
from slimgen.evaluation.frechet import Gaussian

REFERENCE = "reference.npz"


@dataclass(frozen=True)
class Reference:
    """The report split of a data set under one feature network."""

    features: torch.Tensor  # (n, d) float32
    gaussian: Gaussian
    factor: torch.Tensor  # (d, r) float64, factor of the covariance
    shape: tuple[int, int, int]  # (c, h, w) of the images
    floor: float  # FID of the train split
    gauss: float  # FID of a Gaussian fitted to the train pixels
    network: str  # name of the feature network
    network_sha256: str
    pool: int = 1  # images are mean-pooled by this before a classifier sees them


def save_reference(path: Path, reference: Reference) -> None:
    """Write a reference atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=reference.features.numpy(),
            mean=reference.gaussian.mean.numpy(),
            cov=reference.gaussian.cov.numpy(),
            factor=reference.factor.numpy(),
            shape=np.array(reference.shape),
            distances=np.array([reference.floor, reference.gauss]),
            network=np.array([reference.network, reference.network_sha256]),
            pool=np.array(reference.pool),
        )


def load_reference(path: Path) -> Reference:
    """Read what `save_reference` wrote, at `path` or in the folder `path`.

    Raises ValueError naming the file where it is missing or damaged.
    """
    path = path / REFERENCE if path.is_dir() else path
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        features, mean, cov, factor = (
            torch.from_numpy(arrays[name]) for name in ("features", "mean", "cov", "factor")
        )
        channels, height, width = (int(size) for size in arrays["shape"])
        floor, gauss = (float(distance) for distance in arrays["distances"])
        network, sha256 = (str(name) for name in arrays["network"])
        pool = int(arrays["pool"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a reference that can be read ({error})") from None
    return Reference(
        features,
        Gaussian(mean, cov),
        factor,
        (channels, height, width),
        floor,
        gauss,
        network,
        sha256,
        pool,
    )


def open_reference_network(
    reference: Reference,
    classifier: Path | None,
    *,
    inception_path: str | None,
    device: torch.device,
) -> FeatureNetwork:
    """Read the very feature network that a reference was made with.

    Raises ValueError where it is missing or damaged, or another one.
    """
    network = open_feature_network(
        reference.network,
        classifier=classifier,
        inception_path=inception_path,
        inception_sha256=reference.network_sha256,
        device=device,
        pool=reference.pool,
    )
    if network.sha256 != reference.network_sha256:
        raise ValueError(
            f"{classifier}: sha256 {network.sha256}, but the reference was made with a "
            f"{reference.network} of sha256 {reference.network_sha256}"
        )
    return network
