"""Samplers are checked against the configured schedule before any job."""

import pytest

from slimgen.config.base import NoiseSchedule
from slimgen.config.run import ConfigError, load
from slimgen.config.samplers import MAX_FIRST_SIGNAL, signal_at
from slimgen.diffusion import timesteps
from slimgen.diffusion.schedule import make_schedule

DIGITS = {"run": "x", "dataset": "digits"}
COSINE = {"teacher": {"train": {"schedule": {"betas": "cosine"}}}}


@pytest.mark.parametrize("betas", ["linear", "cosine"])
@pytest.mark.parametrize("T", [50, 1000])
def test_the_signal_is_that_of_the_schedule(betas, T):
    settings = NoiseSchedule(betas=betas, num_train_timesteps=T)
    abar = make_schedule(settings).alphas_cumprod
    for t in (0, T // 2, 4 * T // 5):
        assert signal_at(settings, t) == pytest.approx(float(abar[t].sqrt()), rel=1e-9)
    assert timesteps.MAX_FIRST_SIGNAL == MAX_FIRST_SIGNAL


def test_a_start_in_mid_image_is_refused_early():
    with pytest.raises(ConfigError, match=r"pairs\.variants\.teacher\.sampling\.spacing.*uniform"):
        load(DIGITS | COSINE | {"denoising_student": {}})
    with pytest.raises(ConfigError, match=r"evaluation\.measure\.sampling\.spacing"):
        load(DIGITS | COSINE | {"evaluation": {"measure": {"sampling": {"spacing": "quad_0.8"}}}})


def test_more_steps_than_timesteps_are_refused_early():
    short = {"teacher": {"train": {"schedule": {"num_train_timesteps": 20}}}}
    with pytest.raises(ConfigError, match=r"'ddim-50', but the schedule has 20 timesteps"):
        load(DIGITS | short)


def test_linear_betas_and_foreign_teachers_are_left_alone():
    load(DIGITS | {"denoising_student": {}})
    load(DIGITS | {"teacher": {"from": "a/b", **COSINE["teacher"]}, "denoising_student": {}})
