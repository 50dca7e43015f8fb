"""Samplers against diffusers' schedulers, at settings that truly coincide.

diffusers' singlestep scheduler takes neighbours on its grid as inner points, and its second-order
update is another one than that inside DPM-Solver-3. It coincides with the paper (and with us) on a
grid whose points are the inner points, with `heun` for the second and `midpoint` for the third
stage. Its own orders for 10 evaluations would be the same 3, 3, 3, 1.
"""

from __future__ import annotations

import math

import pytest
import torch

from slimgen.config.base import Sampling
from slimgen.diffusion.denoiser import Denoiser, DiffusionProcess
from slimgen.diffusion.dpm_solver import sample_dpm_solver
from slimgen.diffusion.prediction import DIFFUSERS_NAMES
from slimgen.diffusion.sampling import images_from_noise
from slimgen.diffusion.saved import SavedModel

THEIRS = {ours: theirs for theirs, ours in DIFFUSERS_NAMES.items()}
SHAPE = (3, 1, 4, 4)


def starting_noise() -> torch.Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def noise_of(rng: torch.Generator):
    while True:
        yield torch.randn(SHAPE, generator=rng, dtype=torch.float64)


def run(scheduler, network, x: torch.Tensor, **options) -> torch.Tensor:
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t, return_dict=False)[0]
        x = scheduler.step(output, t, x, **options).prev_sample
    return x


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim(prediction, name, eta, network, request):
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    schedule = request.getfixturevalue(name)
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        prediction_type=THEIRS[prediction],
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
        steps_offset=0,
    )
    scheduler.alphas_cumprod = schedule.alphas_cumprod
    scheduler.set_timesteps(50)
    z = starting_noise()
    # eta = 1: both draw one normal per step from the same generator
    rng = torch.Generator().manual_seed(5)
    theirs = run(scheduler, network, z, eta=eta, generator=rng)
    model = SavedModel(network, DiffusionProcess(schedule, prediction))
    noise = noise_of(torch.Generator().manual_seed(5))
    ours = images_from_noise(model, "ddim-50", Sampling(eta=eta), z, noise=noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


def test_ddim_with_clipped_estimates(network, linear):
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = DDIMScheduler(clip_sample=True)
    scheduler.alphas_cumprod = linear.alphas_cumprod
    scheduler.set_timesteps(20)
    z = starting_noise()
    theirs = run(scheduler, network, z, use_clipped_model_output=True)
    model = SavedModel(network, DiffusionProcess(linear, "eps"))
    settings = Sampling(clip_denoised=True)
    noise = noise_of(torch.Generator())
    ours = images_from_noise(model, "ddim-20", settings, z, noise=noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)
    free = images_from_noise(model, "ddim-20", Sampling(), z, noise=noise)
    assert (free - ours).abs().max() > 1e-3  # clipping did something here


@pytest.mark.parametrize("variance", ["fixedlarge", "fixedsmall"])
@pytest.mark.parametrize("steps", [100, 1000])
@pytest.mark.parametrize("clip", [False, True])
def test_ddpm(variance, steps, clip, network, linear):
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = DDPMScheduler(
        variance_type={"fixedlarge": "fixed_large", "fixedsmall": "fixed_small"}[variance],
        clip_sample=clip,
    )
    scheduler.alphas_cumprod = linear.alphas_cumprod
    scheduler.set_timesteps(steps)
    z = starting_noise()
    theirs = run(scheduler, network, z, generator=torch.Generator().manual_seed(5))
    model = SavedModel(network, DiffusionProcess(linear, "eps"))
    settings = Sampling(variance=variance, clip_denoised=clip, spacing="quad")
    noise = noise_of(torch.Generator().manual_seed(5))
    ours = images_from_noise(model, f"ddpm-{steps}", settings, z, noise=noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [9, 27])  # 999 is a multiple: whole timesteps; short and long
def test_multistep(order, steps, network, linear):
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=order,
        solver_type="midpoint",
        final_sigmas_type="sigma_min",
        lower_order_final=True,
    )
    scheduler.set_timesteps(steps)
    exact = linear.sigmas[[*scheduler.timesteps.tolist(), 0]]
    torch.testing.assert_close(scheduler.sigmas.double(), exact, rtol=1e-3, atol=0)
    scheduler.sigmas = exact  # theirs are float32
    z = starting_noise()
    theirs = run(scheduler, network, z)
    model = SavedModel(network, DiffusionProcess(linear, "eps"))
    settings = Sampling(dpm_order=order)
    ours = images_from_noise(
        model, f"dpmpp-{steps}", settings, z, noise=noise_of(torch.Generator())
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # they step in float32


@pytest.mark.parametrize("order", [1, 2, 3])
def test_singlestep(order, network, linear):
    from diffusers.schedulers.scheduling_dpmsolver_singlestep import (
        DPMSolverSinglestepScheduler,
    )

    scheduler = DPMSolverSinglestepScheduler(
        algorithm_type="dpmsolver",
        solver_order=order,
        solver_type="midpoint",
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    steps = 4
    scheduler.set_timesteps(order * steps)
    high, low = float(linear.sigmas[-1]), float(linear.sigmas[0])
    log_sigmas = torch.linspace(
        math.log(high), math.log(low), order * steps + 1, dtype=torch.float64
    )
    sigmas = log_sigmas.exp()
    scheduler.sigmas = sigmas  # the grid whose points are our inner points
    scheduler.set_begin_index(0)
    z = starting_noise()
    x_t = z
    for index, sigma in enumerate(sigmas[:-1]):
        stage = index % order + 1
        # the update inside DPM-Solver-3 to r = 2/3 is their `heun`; all others are `midpoint`
        scheduler.register_to_config(solver_type="heun" if (order, stage) == (3, 2) else "midpoint")
        t = linear.timestep(sigma[None])
        x_t = scheduler.step(network(x_t, t, return_dict=False)[0], t, x_t).prev_sample

    process = DiffusionProcess(linear, "eps")
    x = process.initial(z, high)
    ours = sample_dpm_solver(
        Denoiser(network, process), x, sigmas[::order].tolist(), [order] * steps
    )
    torch.testing.assert_close(ours / (1 + low**2) ** 0.5, x_t, rtol=1e-7, atol=1e-7)
