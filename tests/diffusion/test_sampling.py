"""The dispatch: evaluations counted, noise by image, names that do not fit."""

from __future__ import annotations

import pytest
import torch

from slimgen.config.base import Sampling
from slimgen.config.sampler_names import parse_sampler
from slimgen.diffusion.consistency_sampling import consistency_sigmas, karras_sigmas
from slimgen.diffusion.denoiser import ConsistencyProcess, DiffusionProcess, OneStepProcess
from slimgen.diffusion.noise import BLOCK, initial_noise, noise_stream
from slimgen.diffusion.sampling import generate, nfe_of
from slimgen.diffusion.saved import SavedModel

SHAPE = (1, 4, 4)
CONSISTENCY = ConsistencyProcess(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)


def model_for(name, network, schedule) -> SavedModel:
    kind = parse_sampler(name)[0]
    if kind == "one-step":
        return SavedModel(network, OneStepProcess(schedule, "v"))
    if kind == "consistency":
        return SavedModel(network, CONSISTENCY)
    return SavedModel(network, DiffusionProcess(schedule, "v"))


def images(model, name, settings, start=0, count=2) -> torch.Tensor:
    return generate(
        model, name, settings, seed=0, start=start, count=count, shape=SHAPE, device="cpu"
    )


@pytest.mark.parametrize(
    ("name", "settings", "nfe"),
    [
        ("ddim-1", {}, 1),
        ("ddim-20", {"eta": 0.5}, 20),
        ("ddim-30", {"spacing": "uniform"}, 30),
        ("ddim-100", {"spacing": "quad_0.8"}, 96),
        ("ddpm-50", {}, 50),
        ("dpm-10", {}, 10),
        ("dpm-12", {"dpm_spacing": "logsnr"}, 12),
        ("dpm-20", {"dpm_spacing": "time_quadratic"}, 20),
        ("dpm-9", {"dpm_order": 2}, 9),
        ("dpmpp-10", {}, 10),
        ("dpmpp-20", {"dpm_spacing": "logsnr"}, 20),
        ("one-step", {}, 1),
        ("consistency-1", {}, 1),
        ("consistency-4", {}, 4),
    ],
)
def test_nfe_is_what_the_network_counts(name, settings, nfe, network, linear):
    chosen = Sampling(**settings)
    result = images(model_for(name, network, linear), name, chosen)
    assert network.calls == nfe == nfe_of(name, chosen, linear)
    assert result.shape == (2, *SHAPE)
    assert result.dtype == torch.float32
    assert result.isfinite().all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ddim-10", {}),
        ("ddim-10", {"eta": 1.0}),
        ("ddpm-20", {}),
        ("dpm-10", {}),
        ("one-step", {}),
        ("consistency-3", {}),
    ],
)
def test_batches_do_not_change_the_images(name, settings, network, linear):
    model, chosen = model_for(name, network, linear), Sampling(**settings)
    whole = images(model, name, chosen, count=75)
    parts = [(0, 1), (1, 31), (32, 40), (72, 3)]
    chunked = torch.cat([images(model, name, chosen, start, count) for start, count in parts])
    torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=1e-6)
    assert (whole[:-1] - whole[1:]).flatten(1).abs().amax(1).min() > 1e-3  # no image twice


def test_noise_depends_on_seed_and_image_alone():
    whole = initial_noise(3, 0, 3 * BLOCK, SHAPE)
    for start, count in [(0, 1), (BLOCK - 1, 2), (BLOCK, BLOCK), (7, 2 * BLOCK)]:
        assert torch.equal(initial_noise(3, start, count, SHAPE), whole[start : start + count])
    assert not torch.equal(initial_noise(4, 0, 2, SHAPE), whole[:2])
    assert whole.std() == pytest.approx(1, abs=0.1)


def test_noise_of_steps_is_new_at_each_step_and_the_same_in_every_batch():
    whole = noise_stream(3, 0, 2 * BLOCK, SHAPE, stream="steps")
    part = noise_stream(3, BLOCK - 2, 4, SHAPE, stream="steps")
    first, second = next(whole), next(whole)
    assert torch.equal(next(part), first[BLOCK - 2 : BLOCK + 2])
    assert torch.equal(next(part), second[BLOCK - 2 : BLOCK + 2])
    assert not torch.equal(first, second)
    assert not torch.equal(first, initial_noise(3, 0, 2 * BLOCK, SHAPE))


def test_one_step_formulas(network, linear):
    z = initial_noise(0, 0, 2, SHAPE)
    output = network(z, torch.tensor([999.0]), return_dict=False)[0]
    abar = linear.alphas_cumprod[-1].float()
    expected = {
        "eps": z - output,
        "v": abar.sqrt() * z - (1 - abar).sqrt() * output,
        "x0": output,
    }
    for prediction, image in expected.items():
        model = SavedModel(network, OneStepProcess(linear, prediction))
        torch.testing.assert_close(images(model, "one-step", Sampling()), image)
        clipped = images(model, "one-step", Sampling(clip_denoised=True))
        torch.testing.assert_close(clipped, image.clamp(-1, 1))


def test_consistency_in_one_step_is_f_at_sigma_max(network):
    z = initial_noise(0, 0, 2, SHAPE)
    expected = CONSISTENCY.denoise(network, 80.0 * z, torch.full((2,), 80.0))
    model = SavedModel(network, CONSISTENCY)
    torch.testing.assert_close(images(model, "consistency-1", Sampling()), expected)


def test_consistency_in_two_steps_is_algorithm_1(network):
    process = ConsistencyProcess(sigma_min=0.3, sigma_max=80.0, sigma_data=0.5)
    steps = next(noise_stream(0, 0, 2, SHAPE, stream="steps"))
    model = SavedModel(network, process)
    first = images(model, "consistency-1", Sampling())
    x = first + (0.8**2 - 0.3**2) ** 0.5 * steps
    expected = process.denoise(network, x, torch.full((2,), 0.8))
    settings = Sampling(consistency_sigmas=(0.8,))
    torch.testing.assert_close(images(model, "consistency-2", settings), expected)


def test_consistency_levels_come_from_the_karras_grid():
    assert consistency_sigmas(CONSISTENCY, 1, None) == [80.0]
    middle = ((80.0 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    assert consistency_sigmas(CONSISTENCY, 2, None) == pytest.approx([80.0, middle])
    assert consistency_sigmas(CONSISTENCY, 3, (5.0, 0.5, 0.1)) == [80.0, 5.0, 0.5]
    grid = karras_sigmas(18, sigma_min=0.002, sigma_max=80.0, rho=7.0)
    roots = torch.tensor(grid, dtype=torch.float64) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(17))
    assert (grid[0], grid[-1]) == (80.0, 0.002)


def test_consistency_levels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="needs 2 consistency_sigmas, there are 1"):
        consistency_sigmas(CONSISTENCY, 3, (0.8,))
    with pytest.raises(ValueError, match="must decrease between sigma_max"):
        consistency_sigmas(CONSISTENCY, 2, (90.0,))


@pytest.mark.parametrize(
    ("sampler", "kind"),
    [
        ("one-step", "ddim-5"),
        ("ddim-5", "one-step"),
        ("dpm-5", "consistency-1"),
        ("one-step", "consistency-1"),
    ],
)
def test_samplers_that_do_not_fit_the_model_are_refused(sampler, kind, network, linear):
    with pytest.raises(ValueError, match=f"sampler '{sampler}' does not fit a model of kind"):
        images(model_for(kind, network, linear), sampler, Sampling())


def test_quad_08_on_cosine_is_refused_before_the_network_runs(network, cosine):
    model = SavedModel(network, DiffusionProcess(cosine, "v"))
    with pytest.raises(ValueError, match="use uniform"):
        images(model, "ddim-10", Sampling(spacing="quad_0.8"))
    with pytest.raises(ValueError, match="use uniform"):
        nfe_of("ddim-10", Sampling(spacing="quad_0.8"), cosine)
    assert network.calls == 0


@pytest.mark.parametrize("name", ["ddim", "ddim-0", "ddim-x", "euler-10", "one-step-2", "dpm--3"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="use ddim-N"):
        parse_sampler(name)


def test_a_sampler_of_another_kind_of_model_is_no_setting_of_measure():
    from slimgen.config.shared import MeasureSettings

    with pytest.raises(ValueError, match="sampler 'consistency-2'"):
        MeasureSettings(samplers=("ddim-10", "consistency-2"))
