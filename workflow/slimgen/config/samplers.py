"""Samplers that cannot work on the configured noise schedule stop the run before any job.

The stages check the same on the schedule that a teacher really has (`diffusion/timesteps.py`);
here it is told early, where the config holds the schedule: not for a teacher from outside.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slimgen.config.base import NoiseSchedule
from slimgen.config.errors import WrongNameError
from slimgen.config.sampler_names import MAX_FIRST_SIGNAL, parse_sampler

if TYPE_CHECKING:
    from slimgen.config.run import Config


def signal_at(schedule: NoiseSchedule, t: int) -> float:
    """Return sqrt(alphas_cumprod) at timestep t."""
    T = schedule.num_train_timesteps
    if schedule.betas == "cosine":
        start = math.cos(0.008 / 1.008 * math.pi / 2)
        return math.cos(((t + 1) / T + 0.008) / 1.008 * math.pi / 2) / start
    step = (schedule.beta_end - schedule.beta_start) / (T - 1)
    return math.prod(math.sqrt(1 - schedule.beta_start - i * step) for i in range(t + 1))


def check_samplers(config: Config) -> None:
    """Raise WrongNameError for more steps than timesteps, or a start in mid-image."""
    teacher: Any = config.teacher.train.variant(config.dataset)
    if teacher.from_ is not None:
        return
    measure = config.evaluation.measure
    stages: dict[str, Any] = {"evaluation.measure": measure}
    stages |= {
        f"evaluation.measure.variants.{name}": measure.variant(name) for name in measure.variants
    }
    for path, settings in stages.items():
        _check(path, settings.samplers, settings.sampling.spacing, teacher.schedule)
    if config.denoising_student is not None:
        pairs: Any = config.denoising_student.pairs
        for name in pairs.variants:
            row = pairs.variant(name)
            path = f"denoising_student.pairs.variants.{name}"
            _check(path, (row.sampler,), row.sampling.spacing, teacher.schedule)


def _check(path: str, samplers: tuple[str, ...], spacing: str, schedule: NoiseSchedule) -> None:
    T = schedule.num_train_timesteps
    for sampler in samplers:
        kind, nfe = parse_sampler(sampler)
        if kind in ("ddim", "ddpm") and nfe > T:
            raise WrongNameError(f"{path}: sampler {sampler!r}, but the schedule has {T} timesteps")
        if kind == "ddim" and spacing == "quad_0.8":
            signal = signal_at(schedule, 4 * T // 5)
            if signal >= MAX_FIRST_SIGNAL:
                raise WrongNameError(
                    f"{path}.sampling.spacing = 'quad_0.8': it starts at timestep {4 * T // 5}, "
                    f"where sqrt(alphas_cumprod) is {signal:.3f} on betas: {schedule.betas}; it "
                    f"must be below {MAX_FIRST_SIGNAL}: use uniform"
                )
