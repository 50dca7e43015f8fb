"""Frechet distance between two Gaussians by symmetric eigenvalues in float64.

d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)  (Dowson and Landau 1982; Heusel et al. 2017)

With S1 = H H^T the matrix S1 S2 has the eigenvalues of the symmetric H^T S2 H, so the last trace is
the sum of their square roots: no matrix square root, and H is computed once per reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and unbiased covariance (d, d) of features, float64 on the CPU."""

    mean: torch.Tensor
    cov: torch.Tensor


def fit_gaussian(features: torch.Tensor, chunk: int = 8192) -> Gaussian:
    """Return mean and covariance of features (n, d), accumulated in float64.

    Raises ValueError for fewer than two rows: they have no covariance.
    """
    n = len(features)
    if n < 2:
        raise ValueError(f"{n} image(s): a Frechet distance needs at least 2 on either side")
    mean = torch.stack([part.double().sum(0) for part in features.split(chunk)]).sum(0) / n
    cov = features.new_zeros((features.shape[1],) * 2, dtype=torch.float64)
    for part in features.split(chunk):
        centred = part.double() - mean
        cov += centred.T @ centred
    return Gaussian(mean.cpu(), (cov / (n - 1)).cpu())


def factor(cov: torch.Tensor) -> torch.Tensor:
    """Return H (d, r) with H H^T = cov, r its numerical rank.

    Directions whose variance is rounding noise are left out: each would add the root of that noise.
    """
    values, vectors = torch.linalg.eigh(cov)
    kept = values > _noise(values)
    return vectors[:, kept] * values[kept].sqrt()


def frechet_distance(
    gaussian: Gaussian, reference: Gaussian, reference_factor: torch.Tensor | None = None
) -> float:
    """Return d^2; `reference_factor` is `factor(reference.cov)`, computed here if not given."""
    H = factor(reference.cov) if reference_factor is None else reference_factor
    values = torch.linalg.eigvalsh(H.T @ gaussian.cov @ H)
    trace_root = values[values > _noise(values)].sqrt().sum()
    shift = (gaussian.mean - reference.mean).square().sum()
    return float(shift + gaussian.cov.trace() + reference.cov.trace() - 2 * trace_root)


def _noise(values: torch.Tensor) -> float:
    """Return the size below which an eigenvalue of a matrix with these eigenvalues is rounding."""
    largest = float(values.max()) if len(values) else 0.0
    return len(values) * torch.finfo(torch.float64).eps * max(largest, 0.0)
