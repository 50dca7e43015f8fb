"""The consistency loss: one image, one noise, two neighbouring noise levels (Song et al. 2023).

L_CT = d(f_theta(x + sigma_n z, sigma_n), clip(f_target(x + sigma_{n-1} z, sigma_{n-1}), -1, 1)),
the clipping as in ACT's released code; the target has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from slimgen.config.act import StudentSettings
from slimgen.data.dataset import Images, normalize
from slimgen.diffusion.denoiser import ConsistencyProcess
from slimgen.diffusion.losses import pseudo_huber
from slimgen.networks.lpips import load_lpips

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Noised:
    """One batch of a consistency step: images, noise, index n >= 1 of each, and the grid."""

    x0: torch.Tensor  # (n, c, h, w)
    z: torch.Tensor  # (n, c, h, w)
    index: torch.Tensor  # (n,) int64
    grid: torch.Tensor  # (N,) float32

    @property
    def scales(self) -> int:
        """Return N."""
        return len(self.grid)

    def sigma(self, offset: int = 0) -> torch.Tensor:
        """Return sigma_{n + offset}, (n,)."""
        return self.grid[self.index + offset]

    def at(self, offset: int = 0) -> torch.Tensor:
        """Return x0 + sigma_{n + offset} z."""
        return self.x0 + self.sigma(offset)[:, None, None, None] * self.z


def draw_index(scales: int, n: int, rng: torch.Generator) -> torch.Tensor:
    """Return n indices, uniform over 1 .. N - 1, int64 on the generator's device."""
    return torch.randint(1, scales, (n,), generator=rng, device=rng.device)


def add_noise(x0: torch.Tensor, grid: torch.Tensor, rng: torch.Generator) -> Noised:
    """Draw an index and a noise for each image."""
    index = draw_index(len(grid), len(x0), rng)
    return Noised(x0, torch.randn(x0.shape, generator=rng, device=rng.device), index, grid)


def consistency_target(
    process: ConsistencyProcess, network: nn.Module, noised: Noised
) -> torch.Tensor:
    """Return the target network's estimate one level below, clipped to the images' range."""
    with torch.no_grad():
        return process.denoise(network, noised.at(-1), noised.sigma(-1)).clamp(-1, 1)


def l2(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return ||output - target|| of each whole image, (n,), as in ACT's released code."""
    return torch.linalg.vector_norm((output - target).flatten(1), dim=1)


def make_distance(settings: StudentSettings, device: torch.device | str) -> Distance:
    """Return d(output, target) -> (n,).

    Raises ValueError where LPIPS has no weights, or weights that do not fit.
    """
    if settings.distance == "pseudo_huber":
        return pseudo_huber
    if settings.distance == "l2":
        return l2
    if settings.lpips_path is None:
        raise ValueError(
            "lpips_path is not set: distance 'lpips' needs the weights of LPIPS-VGG16 "
            "(or set distance: pseudo_huber)"
        )
    return load_lpips(Path(settings.lpips_path)).to(device)


def measured_sigma_data(images: Images) -> float:
    """Return the standard deviation of all values of a split, scaled to [-1, 1]."""
    return float(normalize(images.images).double().std(correction=0))


def make_process(settings: StudentSettings, images: Images) -> ConsistencyProcess:
    """Return the preconditioning, with sigma_data measured on `images` where that is asked for."""
    measured = settings.sigma_data == "measured"
    return ConsistencyProcess(
        sigma_min=settings.sigma_min,
        sigma_max=settings.sigma_max,
        sigma_data=measured_sigma_data(images) if measured else float(settings.sigma_data),
        rho=settings.rho,
        time_conditioning=settings.time_conditioning,
    )
