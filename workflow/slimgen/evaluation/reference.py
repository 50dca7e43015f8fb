"""What generated images are compared with: the report split under one feature network, one file.

reference.npz holds the features, their mean and covariance, a factor of the covariance
(`frechet.py`), which feature network they are of, and the two distances that q lies between.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from slimgen.data.files import atomic_path
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
    )
