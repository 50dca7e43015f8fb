"""What the name of a sampler says; read by the config and by the samplers themselves."""

from __future__ import annotations

MAX_FIRST_SIGNAL = 0.05  # sqrt(alphas_cumprod) where pure noise still passes for x_t


def parse_sampler(name: str) -> tuple[str, int]:
    """Split `ddim-50` into ("ddim", 50); `one-step` is ("one-step", 1).

    Raises ValueError for a name of another form.
    """
    if name == "one-step":
        return name, 1
    kind, _, nfe = name.partition("-")
    known = kind in ("ddim", "ddpm", "dpm", "dpmpp", "consistency")
    if not known or not nfe.isdecimal() or int(nfe) < 1:
        raise ValueError(
            f"sampler {name!r}: use ddim-N, ddpm-N, dpm-N, dpmpp-N, consistency-N or one-step, "
            "for example ddim-50"
        )
    return kind, int(nfe)
