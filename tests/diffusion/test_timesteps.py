"""Which timesteps are sampled and drawn: golden values and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimgen.diffusion.timesteps import sample_timesteps, sampling_timesteps


def test_uniform_is_range_where_steps_divide_the_timesteps(linear):
    for steps in (10, 20, 50, 100, 1000):
        expected = list(range(0, 1000, 1000 // steps))
        assert sampling_timesteps(linear, "uniform", steps) == expected[::-1]


def test_uniform_has_exactly_the_steps_asked_for(linear):
    for steps in (3, 7, 300, 999):
        timesteps = sampling_timesteps(linear, "uniform", steps)
        assert len(set(timesteps)) == steps
        assert timesteps[-1] == 0
        assert timesteps[0] == (steps - 1) * 1000 // steps


@pytest.mark.parametrize("steps", [2, 10, 20, 50, 100, 1000])
def test_quad_08_is_the_formula_of_the_ddim_code(steps, linear):
    formula = (np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2).astype(int)
    expected = sorted(set(formula.tolist()), reverse=True)
    assert sampling_timesteps(linear, "quad_0.8", steps) == expected


def test_quad_08_golden(linear):
    timesteps = sampling_timesteps(linear, "quad_0.8", 100)
    assert len(timesteps) == 96
    assert timesteps[:4] == [800, 783, 768, 752]
    assert timesteps[-4:] == [3, 2, 1, 0]


def test_quad_reaches_the_last_timestep(linear, cosine):
    for schedule in (linear, cosine):
        assert sampling_timesteps(schedule, "quad", 10)[0] == 999
        assert sampling_timesteps(schedule, "quad", 4) == [999, 444, 111, 0]


def test_one_step_is_the_last_index(linear):
    assert sampling_timesteps(linear, "uniform", 1) == [999]
    assert sampling_timesteps(linear, "quad_0.8", 1) == [800]


def test_quad_08_is_refused_where_the_first_index_holds_an_image(cosine):
    with pytest.raises(ValueError, match=r"timestep 800.*0\.305.*below 0\.05"):
        sampling_timesteps(cosine, "quad_0.8", 100)


def test_more_steps_than_timesteps_are_refused(linear):
    with pytest.raises(ValueError, match="1001 sampling steps"):
        sampling_timesteps(linear, "uniform", 1001)


@pytest.mark.parametrize("kind", ["uniform", "antithetic", "logit_normal"])
def test_training_timesteps_are_valid_and_repeatable(kind):
    drawn = [sample_timesteps(kind, 5001, 40, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*drawn)
    t = drawn[0]
    assert t.dtype == torch.int64
    assert t.shape == (5001,)
    assert (t.min(), t.max()) == (0, 39)


def test_antithetic_timesteps_are_pairs():
    t = sample_timesteps("antithetic", 10, 1000, torch.Generator().manual_seed(0))
    assert torch.equal(t[:5] + t[5:], torch.full((5,), 999))


def test_logit_normal_timesteps_have_the_quantiles_of_a_logit_normal():
    t = sample_timesteps("logit_normal", 20_000, 1000, torch.Generator().manual_seed(0)).double()
    levels = torch.tensor([0.1587, 0.5, 0.8413], dtype=torch.float64)  # u = -1, 0, 1
    expected = 1000 * torch.tensor([-1.0, 0.0, 1.0]).double().sigmoid()
    torch.testing.assert_close(t.quantile(levels), expected, rtol=0, atol=8)
