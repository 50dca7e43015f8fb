"""Networks without weights: a smooth analytic one, and the exact one of Gaussian data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimgen.config.base import NoiseSchedule
from slimgen.diffusion.schedule import Schedule, make_schedule


class AnalyticNetwork(nn.Module):
    """A smooth function of x_t and (fractional) t that counts how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(
        self, x_t: torch.Tensor, t: torch.Tensor, return_dict: bool = True
    ) -> tuple[torch.Tensor]:
        assert return_dict is False
        self.calls += 1
        t = torch.as_tensor(t, dtype=x_t.dtype).reshape(-1, 1, 1, 1) / 1000
        return (0.8 * x_t + 0.3 * torch.tanh(2 * x_t - t) + 0.1 * t * x_t.flip(-1),)


class GaussianDenoiser:
    """The exact denoiser of x0 ~ N(mean, std^2) per pixel, and the exact end of its ODE."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.mean, self.std, self.calls = mean, std, 0

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        self.calls += 1
        return (self.std**2 * x + sigma**2 * self.mean) / (self.std**2 + sigma**2)

    def solution(self, x: torch.Tensor, start: float, end: float) -> torch.Tensor:
        """Return where dx / d(sigma) = (x - denoised) / sigma leads from x at `start`."""
        return (
            self.mean + (x - self.mean) * ((self.std**2 + end**2) / (self.std**2 + start**2)).sqrt()
        )


@pytest.fixture
def network() -> AnalyticNetwork:
    return AnalyticNetwork()


@pytest.fixture
def gaussian() -> GaussianDenoiser:
    mean = torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64).view(1, 1, 2, 2)
    std = torch.tensor([[0.6, 0.9], [0.3, 1.1]], dtype=torch.float64).view(1, 1, 2, 2)
    return GaussianDenoiser(mean, std)


@pytest.fixture(scope="session")
def linear() -> Schedule:
    return make_schedule(NoiseSchedule())


@pytest.fixture(scope="session")
def cosine() -> Schedule:
    return make_schedule(NoiseSchedule(betas="cosine"))
