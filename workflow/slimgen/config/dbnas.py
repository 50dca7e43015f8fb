"""Settings of DBNAS (block-wise NAS by distillation for diffusion U-Nets)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from slimgen.config.base import Ema, Optimizer, StageSettings, Training, Variants


def _odd(kernels: tuple[int, ...]) -> tuple[int, ...]:
    for kernel in kernels:
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel size {kernel}: kernels are odd and at least 1")
    if 3 not in kernels or len(set(kernels)) != len(kernels):
        raise ValueError(
            f"kernels {list(kernels)}: they hold 3, the teacher's own size, and no size twice"
        )
    return kernels


def _fractions(widths: tuple[float, ...]) -> tuple[float, ...]:
    for width in widths:
        if not 0 < width <= 1:
            raise ValueError(f"width {width:g}: widths are fractions above 0 and at most 1")
    if 1.0 not in widths or len(set(widths)) != len(widths):
        raise ValueError(
            f"widths {list(widths)}: they hold 1.0, the teacher's own, and no fraction twice"
        )
    return widths


class SupernetSettings(Training):
    """dbnas.supernet: separate weights per kernel size, each block distilled alone."""

    steps: int = Field(
        12_720,
        ge=1,
        description="Steps of each block; 10 epochs of CelebA, 139,920 in all one after another.",
    )
    batch_size: int = Field(128, ge=1)
    kernels: tuple[int, ...] = (1, 3, 5)
    widths: tuple[float, ...] = Field(
        (1.0,),
        description="Channels between the two convs of a ResBlock, as fractions of the teacher's: "
        "whole groups of its GroupNorm. A narrower one shares the first channels of the widest.",
    )
    init: Literal["random", "teacher"] = Field(
        "random",
        description="`teacher`: a block's norms, time projections, attention, shortcuts and "
        "resampling start from the teacher's; the convs that choose are always random.",
    )
    order: Literal["together", "sequential"] = Field(
        "together", description="All blocks in one teacher pass, or one after another."
    )
    preset: Literal["paper", "code"] = Field(
        "paper", description="`code`: the student's own time embedding, blocks one after another."
    )
    optimizer: Optimizer = Field(
        Optimizer(lr=2e-4, clip_norm=1.0), description="Each block has one of its own."
    )
    ema: Ema = Field(Ema(decay=0.0), description="Decay 0 keeps the weights as trained.")
    flip: bool = True

    _kernels_odd = field_validator("kernels")(_odd)
    _widths_are_fractions = field_validator("widths")(_fractions)

    @model_validator(mode="after")
    def _preset_order(self) -> SupernetSettings:
        if self.preset == "code" and self.order != "sequential":
            raise ValueError("preset 'code' trains blocks one after another: set order: sequential")
        return self


class Supernet(SupernetSettings, Variants):
    """dbnas.supernet; one variant per search space."""

    variants: dict[str, dict[str, Any]] = {"kernels": {}}


class SearchSettings(StageSettings):
    """dbnas.search: choose one kernel per conv of every block, and widths where there are some."""

    supernet: str = Field("kernels", description="Variant of dbnas.supernet to search in.")
    method: Literal["local", "global", "random"] = "local"
    r: float = Field(1.0, ge=1, description="Allowed loss relative to the base path of the block.")
    cost: Literal["params", "macs"] = Field("params", description="`params` paper, `macs` code.")
    num_images: int = Field(256, ge=1, description="Images of the search split that score.")
    repeats: int = Field(1, ge=1, description="Noise draws per image.")
    batch_size: int = Field(
        128, ge=1, description="Images scored at once; changes results by rounding only."
    )
    like: str | None = Field(None, description="random: the search variant whose cost it matches.")
    tolerance: float = Field(0.01, ge=0, description="random: relative distance in cost.")
    population: int = Field(50, ge=4)
    generations: int = Field(30, ge=1)
    parents: int = Field(20, ge=2)
    mutation: float = Field(0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _random_is_like_something(self) -> SearchSettings:
        if (self.method == "random") != (self.like is not None):
            raise ValueError("`like` names a search variant for method random, and only there")
        return self


class Search(SearchSettings, Variants):
    """dbnas.search; one variant per way to choose."""

    variants: dict[str, dict[str, Any]] = {
        "S1": {"r": 1.02},
        "S2": {"r": 1.00},
        "random": {"method": "random", "like": "S2"},
        "global": {"method": "global"},
    }


class StudentSettings(Training):
    """dbnas.student: retrain a found architecture with the dynamic joint loss.

    L = gamma (1 - beta) L_dis + beta L_ori.
    """

    search: str = Field(
        "S2", description="Variant of dbnas.search, or `base` for the teacher's own."
    )
    beta: Literal["linear", "step", "fixed", "no_dis"] = "linear"
    beta_value: float = Field(0.5, ge=0, le=1, description="beta of `fixed`.")
    gamma: float = Field(1.0, gt=0, description="Without distillation: beta no_dis.")
    init: Literal["random", "supernet"] = "random"
    steps: int = Field(200_000, ge=2)
    batch_size: int = Field(128, ge=1)
    optimizer: Optimizer = Optimizer(lr=2e-4, clip_norm=1.0)
    ema: Ema = Ema(decay=0.9999)
    timesteps: Literal["uniform", "antithetic", "logit_normal"] = "antithetic"
    flip: bool = True


class Student(StudentSettings, Variants):
    """dbnas.student; one variant per row of the table."""

    variants: dict[str, dict[str, Any]] = {
        "base": {"search": "base"},
        "S1-linear": {"search": "S1"},
        "S1-step": {"search": "S1", "beta": "step"},
        "S2-linear": {"search": "S2"},
        "S2-step": {"search": "S2", "beta": "step"},
        "random": {"search": "random"},
        "global": {"search": "global"},
        "no_dis-S2": {"search": "S2", "beta": "no_dis"},
        "fixed_loss-S1": {"search": "S1", "beta": "fixed"},
    }
