"""Which timesteps a sampler visits, and which ones training draws.

Indices are those of training, 0 .. T - 1, from low to high noise. The rules for S steps:

- `uniform`: floor(i T / S), i = 0 .. S - 1: from 0 to floor((S - 1) T / S). Where S divides T this
  is range(0, T, T // S), as in the DDIM code (980 is the last index of S = 50 at T = 1000).
- `quad`: floor((T - 1) (i / (S - 1))^2): from 0 to T - 1.
- `quad_0.8`: floor(0.8 T (i / (S - 1))^2), the DDIM code's int(linspace(0, sqrt(0.8 T), S)^2): from
  0 to 0.8 T (800 at T = 1000; S = 100 gives 96 distinct indices).

Repeated indices are dropped: a step from a noise level to itself changes nothing, so it needs no
evaluation, and the recorded nfe is the number of distinct indices. S = 1 is the last index alone.
The arithmetic is on whole numbers, so rounding never moves an index.
"""

from __future__ import annotations

from typing import Literal

import torch

from slimgen.config.sampler_names import MAX_FIRST_SIGNAL
from slimgen.diffusion.schedule import Schedule

Spacing = Literal["uniform", "quad", "quad_0.8"]
TimestepKind = Literal["uniform", "antithetic", "logit_normal"]


def sampling_timesteps(schedule: Schedule, spacing: Spacing, steps: int) -> list[int]:
    """Return the distinct timesteps, from high to low noise.

    Raises ValueError where there are more steps than timesteps, and for `quad_0.8` on a schedule
    that still holds an image at 0.8 T (a chain that starts there from pure noise starts wrong).
    """
    T = schedule.num_train_timesteps
    if steps > T:
        raise ValueError(f"{steps} sampling steps, but the schedule has only {T} timesteps")
    last = 4 * T // 5 if spacing == "quad_0.8" else T - 1
    if spacing == "quad_0.8":
        signal = float(schedule.alphas_cumprod[last].sqrt())
        if signal >= MAX_FIRST_SIGNAL:
            raise ValueError(
                f"spacing quad_0.8 starts at timestep {last}, where sqrt(alphas_cumprod) is "
                f"{signal:.3f} on this schedule; it must be below {MAX_FIRST_SIGNAL}: use uniform"
            )
    if steps == 1:
        return [last]
    if spacing == "uniform":
        return [i * T // steps for i in reversed(range(steps))]
    # top (i / (S - 1))^2 with top = T - 1 or 4 T / 5, as one exact fraction
    numerator, denominator = (4 * T, 5) if spacing == "quad_0.8" else (T - 1, 1)
    squares = {numerator * i * i // (denominator * (steps - 1) ** 2) for i in range(steps)}
    return sorted(squares, reverse=True)


def sample_timesteps(kind: TimestepKind, n: int, T: int, rng: torch.Generator) -> torch.Tensor:
    """Draw training timesteps, int64 (n,), on the generator's device.

    antithetic: pairs (t, T - 1 - t) as in the DDIM code. logit_normal: floor(T sigmoid(u)) with
    standard normal u (Esser et al. 2024), which favours the middle of the schedule.
    """
    if kind == "uniform":
        return torch.randint(T, (n,), generator=rng, device=rng.device)
    if kind == "antithetic":
        t = torch.randint(T, ((n + 1) // 2,), generator=rng, device=rng.device)
        return torch.cat([t, T - 1 - t])[:n]
    u = torch.randn(n, generator=rng, device=rng.device)
    return (T * u.sigmoid()).long().clamp(max=T - 1)
