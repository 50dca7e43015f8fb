"""Images from a saved model: the one place where a sampler's name becomes a sampler.

Names: `ddim-N`, `ddpm-N`, `dpm-N` (singlestep), `dpmpp-N` (multistep) for diffusion models,
`one-step` for Denoising Students and GANs, `consistency-N` for consistency models. N is the number
of evaluations asked for; `nfe_of` tells what is evaluated (not repeated quadratic timesteps).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch

from slimgen.config.base import Sampling
from slimgen.config.sampler_names import parse_sampler
from slimgen.diffusion.consistency_sampling import consistency_sigmas, sample_consistency
from slimgen.diffusion.ddim import sample_ddim
from slimgen.diffusion.ddpm import sample_ddpm
from slimgen.diffusion.denoiser import (
    ConsistencyProcess,
    Denoise,
    DiffusionProcess,
    GanProcess,
    OneStepProcess,
)
from slimgen.diffusion.dpm_solver import (
    dpm_sigmas,
    sample_dpm_solver,
    singlestep_orders,
    singlestep_sigmas,
)
from slimgen.diffusion.dpm_solver_multistep import sample_dpm_solver_pp
from slimgen.diffusion.noise import initial_noise, noise_stream
from slimgen.diffusion.saved import SavedModel
from slimgen.diffusion.schedule import Schedule
from slimgen.diffusion.timesteps import sampling_timesteps

Autocast = Callable[[], contextlib.AbstractContextManager[object]]


def nfe_of(name: str, settings: Sampling, schedule: Schedule | None) -> int:
    """Return how often sampler `name` evaluates the network for one image.

    Only DDIM looks at the schedule. Raises ValueError for a sampler that cannot run on it.
    """
    kind, nfe = parse_sampler(name)
    if kind == "ddim":
        assert schedule is not None
        return len(sampling_timesteps(schedule, settings.spacing, nfe))
    return nfe


def _sample_diffusion(
    process: DiffusionProcess,
    denoiser: Denoise,
    name: str,
    settings: Sampling,
    z: torch.Tensor,
    noise: Iterator[torch.Tensor],
) -> torch.Tensor:
    kind, nfe = parse_sampler(name)
    schedule = process.schedule
    orders = singlestep_orders(nfe, settings.dpm_order) if kind == "dpm" else []
    if kind in ("ddim", "ddpm"):
        spacing = settings.spacing if kind == "ddim" else "uniform"
        timesteps = sampling_timesteps(schedule, spacing, nfe)
        sigmas = [*schedule.sigmas[timesteps].tolist(), 0.0]
    elif kind == "dpm":
        sigmas = singlestep_sigmas(
            schedule, settings.dpm_spacing, orders, log_snr_min=settings.log_snr_min
        )
    else:
        sigmas = dpm_sigmas(schedule, settings.dpm_spacing, nfe, log_snr_min=settings.log_snr_min)
    x = process.initial(z, sigmas[0])
    if kind == "ddim":
        x = sample_ddim(denoiser, x, sigmas, eta=settings.eta, noise=noise)
    elif kind == "ddpm":
        x = sample_ddpm(denoiser, x, sigmas, variance=settings.variance, noise=noise)
    elif kind == "dpm":
        x = sample_dpm_solver(denoiser, x, sigmas, orders)
    else:
        x = sample_dpm_solver_pp(denoiser, x, sigmas, order=min(settings.dpm_order, 2))
    return x / (1 + sigmas[-1] ** 2) ** 0.5  # back to x_t of the last noise level


def images_from_noise(
    model: SavedModel,
    name: str,
    settings: Sampling,
    z: torch.Tensor,
    *,
    noise: Iterator[torch.Tensor],
    autocast: Autocast = contextlib.nullcontext,
) -> torch.Tensor:
    """Return the images of standard normal `z`, float32 around [-1, 1].

    `z` is (n, c, h, w), of a GAN (n, z_dim). `noise` yields what stochastic samplers add,
    (n, c, h, w) a draw, on z's device. Values are clipped only where settings.clip_denoised asks
    for it; those of a GAN lie in [-1, 1].
    Raises ValueError where the sampler does not fit the model or its schedule.
    """
    kind, nfe = parse_sampler(name)
    process, network = model.process, model.network
    fitting = {"one_step": ("one-step",), "gan": ("one-step",), "consistency": ("consistency",)}
    if kind not in fitting.get(process.kind, ("ddim", "ddpm", "dpm", "dpmpp")):
        raise ValueError(f"sampler {name!r} does not fit a model of kind {process.kind!r}")
    with torch.no_grad(), autocast():
        if isinstance(process, GanProcess):
            return network(z).float()
        if isinstance(process, OneStepProcess):
            images = process.generate(network, z)
            return images.clamp(-1, 1) if settings.clip_denoised else images
        denoiser: Denoise = model.denoiser()
        if settings.clip_denoised:
            denoiser = partial(_clipped, denoiser)
        if isinstance(process, ConsistencyProcess):
            sigmas = consistency_sigmas(process, nfe, settings.consistency_sigmas)
            x = process.initial(z, sigmas[0])
            return sample_consistency(denoiser, x, sigmas, sigma_min=process.sigma_min, noise=noise)
        return _sample_diffusion(process, denoiser, name, settings, z, noise)


def _clipped(denoiser: Denoise, x: torch.Tensor, sigma: float) -> torch.Tensor:
    return denoiser(x, sigma).clamp(-1, 1)


def generate(
    model: SavedModel,
    name: str,
    settings: Sampling,
    *,
    seed: int,
    start: int,
    count: int,
    shape: tuple[int, int, int],
    device: torch.device | str,
    autocast: Autocast = contextlib.nullcontext,
) -> torch.Tensor:
    """Return images start .. start + count - 1 of a seed, float32 (count, c, h, w) near [-1, 1].

    One batch; (seed, i) alone decides the noise of image i, so calls for parts of a range give the
    images of one call for all of it.

    Args:
        model: on `device`.
        name: the sampler: `ddim-50`, `dpm-10`, `one-step`, `consistency-2`, ...
        settings: the samplers' options.
        seed, start, count: which images.
        shape: (c, h, w) of an image.
        device: where to compute.
        autocast: gives the context of mixed precision (`Compute.autocast`).

    Raises:
        ValueError: the sampler does not fit the model or its schedule.
    """
    z = initial_noise(seed, start, count, model.noise_shape(shape)).to(device)
    noise = noise_stream(seed, start, count, shape, stream="steps", device=device)
    return images_from_noise(model, name, settings, z, noise=noise, autocast=autocast)
