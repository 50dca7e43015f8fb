"""reference.npz: the report split under one feature network, with the factor of its covariance."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from slimgen.data.files import atomic_path
from slimgen.evaluation.fidelity import Reference
from slimgen.evaluation.frechet import Gaussian

REFERENCE = "reference.npz"


def save_reference(path: Path, reference: Reference, shape: tuple[int, int, int]) -> None:
    """Write features, mean, covariance, its factor, and the images' (c, h, w)."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=reference.features.numpy(),
            mean=reference.gaussian.mean.numpy(),
            cov=reference.gaussian.cov.numpy(),
            factor=reference.factor.numpy(),
            shape=np.array(shape),
        )


def load_reference(path: Path) -> tuple[Reference, tuple[int, int, int]]:
    """Read what `save_reference` wrote.

    Raises ValueError naming the file where it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("features", "mean", "cov", "factor", "shape")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    c, h, w = (int(size) for size in arrays.pop("shape"))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    gaussian = Gaussian(tensors["mean"], tensors["cov"])
    return Reference(tensors["features"], gaussian, tensors["factor"]), (c, h, w)
