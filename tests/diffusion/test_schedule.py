"""Schedules, predictions and the denoiser contract against diffusers and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from slimgen.diffusion.denoiser import ConsistencyProcess, Denoiser, DiffusionProcess
from slimgen.diffusion.prediction import DIFFUSERS_NAMES, to_x0, training_target
from slimgen.diffusion.saved import scheduler_config


@pytest.mark.parametrize(
    ("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_schedule_equals_diffusers(name, theirs, request):
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    abar = request.getfixturevalue(name).alphas_cumprod
    betas = 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs)
    torch.testing.assert_close(betas, scheduler.betas.double(), rtol=2e-4, atol=1e-7)
    assert abar.dtype == torch.float64
    assert len(abar) == 1000


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_timestep_is_the_inverse_of_sigma(name, request):
    schedule = request.getfixturevalue(name)
    t = torch.cat([torch.arange(1000.0), torch.tensor([0.25, 17.5, 500.125, 998.9])]).double()
    torch.testing.assert_close(schedule.timestep(schedule.sigma(t)), t, rtol=0, atol=1e-8)
    torch.testing.assert_close(schedule.sigma(torch.arange(1000)), schedule.sigmas)


def test_fractional_timesteps_are_linear_in_log_abar(linear):
    between = torch.log1p(linear.sigma(torch.tensor([10.25])) ** 2)
    ends = torch.log1p(linear.sigmas[[10, 11]] ** 2)
    torch.testing.assert_close(between[0], 0.75 * ends[0] + 0.25 * ends[1])


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_predictions_round_trip(prediction):
    rng = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(5, 1, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    a = torch.rand(5, 1, 1, 1, generator=rng, dtype=torch.float64) * 0.8 + 0.1
    s = (1 - a**2).sqrt()
    x_t = a * x0 + s * eps
    output = training_target(x0, eps, a, s, prediction)
    found = to_x0(output, x_t, a, s, prediction)
    torch.testing.assert_close(found, x0)
    torch.testing.assert_close((x_t - a * found) / s, eps)


@pytest.mark.parametrize("theirs", sorted(DIFFUSERS_NAMES))
def test_denoiser_equals_diffusers_estimate_of_x0(theirs, network, cosine):
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    process = DiffusionProcess(cosine, DIFFUSERS_NAMES[theirs])
    scheduler = DDIMScheduler.from_config(scheduler_config(process))
    assert scheduler.config.prediction_type == theirs
    scheduler.alphas_cumprod = cosine.alphas_cumprod
    scheduler.set_timesteps(20)
    x_t = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0, 450, 950):
        sigma = float(cosine.sigmas[t])
        step = scheduler.step(network(x_t, t, return_dict=False)[0], t, x_t)
        ours = Denoiser(network, process)(process.initial(x_t, sigma), sigma)
        torch.testing.assert_close(ours, step.pred_original_sample, rtol=1e-8, atol=1e-8)


def test_one_noise_level_per_image_equals_one_image_at_a_time(network, linear):
    denoiser = Denoiser(network, DiffusionProcess(linear, "v"))
    x = torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.02, 0.7, 5.0, 90.0], dtype=torch.float64)
    single = [denoiser(image[None], float(level)) for image, level in zip(x, sigma, strict=True)]
    torch.testing.assert_close(denoiser(x, sigma), torch.cat(single))


def test_consistency_boundary_is_exact(network):
    process = ConsistencyProcess(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    x = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Denoiser(network, process)(x, process.sigma_min), x)


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        (0.1, (0.9630, 0.0961, 1.961)),
        (0.5, (0.5020, 0.3521, 1.414)),
        (2.5, (0.0385, 0.4899, 0.3922)),
        (80.0, (3.9e-5, 0.49998, 0.0125)),
    ],
)
def test_consistency_coefficients(sigma, expected):
    process = ConsistencyProcess(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    got = torch.stack(process.coefficients(torch.tensor(sigma, dtype=torch.float64)))
    torch.testing.assert_close(got, torch.tensor(expected).double(), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("conditioning", "expected"), [("raw", 7.389056), ("log", 500.0)])
def test_the_time_embedding_sees_sigma_or_250_times_its_logarithm(conditioning, expected):
    seen = []

    def network(x, condition, return_dict):
        seen.append(condition)
        return (torch.zeros_like(x),)

    process = ConsistencyProcess(0.002, 80.0, 0.5, time_conditioning=conditioning)
    Denoiser(network, process)(torch.zeros(2, 1, 4, 4), math.exp(2.0))
    torch.testing.assert_close(seen, [torch.full((2,), expected)])
