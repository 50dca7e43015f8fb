"""The one contract of samplers: `denoised = denoiser(x, sigma)`.

`x` (n, c, h, w) is x0 + sigma eps, `sigma` (n,), the result an estimate of x0. Three processes
speak it: discrete-time diffusion (any prediction type), the one-step student, and consistency
models with the preconditioning of Song et al. 2023. A GAN's generator denoises nothing; it is a
process so that it is saved, sampled and measured like the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from slimgen.diffusion.prediction import Prediction, to_x0
from slimgen.diffusion.schedule import Schedule

Denoise = Callable[[torch.Tensor, float], torch.Tensor]  # what samplers ask for
Callback = Callable[[int, torch.Tensor, torch.Tensor, float], None]  # (step, x, denoised, sigma)


@dataclass(frozen=True)
class DiffusionProcess:
    """A discrete-time variance-preserving diffusion."""

    schedule: Schedule
    prediction: Prediction
    kind: Literal["diffusion"] = "diffusion"

    @property
    def sigma_max(self) -> float:
        """Return sigma of the last training timestep."""
        return float(self.schedule.sigmas[-1])

    def initial(self, z: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return x at `sigma` whose x_t is the standard normal `z`."""
        return z * (1 + sigma**2) ** 0.5

    def denoise(self, network: nn.Module, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return the network's estimate of x0; `sigma` (n,) may stay on the CPU."""
        t = self.schedule.timestep(sigma).to(x.device, x.dtype)
        sigma = sigma.double()[:, None, None, None]
        norm = (1 + sigma**2).sqrt()
        a, s = (1 / norm).to(x.device, x.dtype), (sigma / norm).to(x.device, x.dtype)
        x_t = a * x
        output = network(x_t, t, return_dict=False)[0].to(x.dtype)
        return to_x0(output, x_t, a, s, self.prediction)


@dataclass(frozen=True)
class OneStepProcess:
    """The Denoising Student: x0 = F(z) from pure noise at the last training timestep.

    eps: F(z) = z - UNet(z, T), as published (not the x0 formula, which divides by almost zero).
    v: F(z) = sqrt(abar_T) z - sqrt(1 - abar_T) UNet(z, T). x0: F(z) = UNet(z, T).
    """

    schedule: Schedule
    prediction: Prediction
    kind: Literal["one_step"] = "one_step"

    def generate(self, network: nn.Module, z: torch.Tensor) -> torch.Tensor:
        """Return F(z) for standard normal z (n, c, h, w)."""
        last = self.schedule.num_train_timesteps - 1
        t = torch.full((len(z),), last, device=z.device)
        output = network(z, t, return_dict=False)[0].to(z.dtype)
        if self.prediction == "eps":
            return z - output
        abar = self.schedule.alphas_cumprod[-1]
        a, s = abar.sqrt().to(z), (1 - abar).sqrt().to(z)
        return to_x0(output, z, a, s, self.prediction)


@dataclass(frozen=True)
class ConsistencyProcess:
    """A consistency model: f(x, sigma) = c_skip x + c_out F(c_in x, sigma), f(x, sigma_min) = x.

    c_skip = sd^2 / ((sigma - sigma_min)^2 + sd^2), c_in = 1 / sqrt(sigma^2 + sd^2),
    c_out = sd (sigma - sigma_min) / sqrt(sigma^2 + sd^2) (Song et al. 2023, appendix C).
    """

    sigma_min: float
    sigma_max: float
    sigma_data: float
    rho: float = 7.0
    time_conditioning: Literal["raw", "log"] = "raw"
    kind: Literal["consistency"] = "consistency"

    def initial(self, z: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return noise of standard deviation `sigma`."""
        return z * sigma

    def coefficients(self, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return c_skip, c_out, c_in of the same shape as sigma."""
        sd = self.sigma_data
        # Written so that c_skip is exactly 1 at sigma_min, whatever sd: f(x, sigma_min) = x.
        c_skip = 1 / (1 + ((sigma - self.sigma_min) / sd) ** 2)
        c_out = sd * (sigma - self.sigma_min) / (sigma**2 + sd**2).sqrt()
        c_in = 1 / (sigma**2 + sd**2).sqrt()
        return c_skip, c_out, c_in

    def condition(self, sigma: torch.Tensor) -> torch.Tensor:
        """Return what the time embedding sees: sigma itself, or 250 ln sigma."""
        return sigma if self.time_conditioning == "raw" else 250.0 * sigma.log()

    def denoise(self, network: nn.Module, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return f(x, sigma); `sigma` (n,) may stay on the CPU."""
        c_skip, c_out, c_in = (
            c.to(x.device, x.dtype)[:, None, None, None] for c in self.coefficients(sigma)
        )
        condition = self.condition(sigma).to(x.device, x.dtype)
        output = network(c_in * x, condition, return_dict=False)[0].to(x.dtype)
        return c_skip * x + c_out * output


@dataclass(frozen=True)
class GanProcess:
    """A GAN's generator: an image is network(z), z (n, z_dim) standard normal."""

    kind: Literal["gan"] = "gan"


Process = DiffusionProcess | OneStepProcess | ConsistencyProcess | GanProcess


@dataclass(frozen=True)
class Denoiser:
    """A network with its process: `denoiser(x, sigma)` is one evaluation of the network."""

    network: nn.Module
    process: DiffusionProcess | ConsistencyProcess

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """Return the estimate of x0; a float sigma holds for the whole batch."""
        # float64 on the CPU: timesteps keep their digits, and no step waits for a GPU
        sigmas = torch.as_tensor(sigma, dtype=torch.float64).expand(len(x))
        return self.process.denoise(self.network, x, sigmas)


def process_record(process: Process) -> dict[str, Any]:
    """Return the JSON form of a process, written as process.json beside a model."""
    if isinstance(process, ConsistencyProcess | GanProcess):
        return dict(vars(process))
    return {"kind": process.kind, "prediction": process.prediction}
