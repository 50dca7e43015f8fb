"""Settings of AutoGAN (neural architecture search for the generator of a GAN).

`preset` names the source of the defaults where paper and released code disagree: `paper` (the class
defaults) or `code`. Keys that are given win over the preset, group by group.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from slimgen.config.autogan_code import check_code
from slimgen.config.base import Ema, Optimizer, Settings
from slimgen.config.labels import Labelled, LabelledVariants

Preset = Literal["paper", "code"]
Published = Literal["A", "B", "C", "E2GAN"]
SkipSource = Literal["conv", "sum"]
SKIP_SOURCE: Any = Field(
    "conv",
    description="What later cells receive of a cell: its first conv's output (`conv`, the paper's "
    "figure), or that plus the cell's own skips (`sum`, the released code and its numbers).",
)
GAN_OPTIMIZER = Optimizer(lr=2e-4, betas=(0.0, 0.9))


class Presets(Labelled):
    """A training whose defaults a preset moves."""

    preset: Preset = Field("paper", description="Which source the defaults follow.")


class Baseline(Settings):
    """Moving average of rewards that REINFORCE subtracts; it starts at the first reward."""

    decay: float = Field(0.9, ge=0, lt=1)
    per_iteration: bool = Field(False, description="Begins anew in every search iteration (code).")
    update_first: bool = Field(
        False, description="Moves before it is subtracted, which shrinks every advantage (code)."
    )


class Reset(Settings):
    """Dynamic reset: G and D begin anew when their losses no longer vary."""

    enabled: bool = True
    window: int = Field(500, ge=2, description="Losses looked at, of G and of D.")
    threshold: float = Field(1e-3, gt=0)
    statistic: Literal["std", "variance"] = Field(
        "std", description="`std` paper, `variance` code."
    )


class SearchSettings(Presets):
    """autogan.search: a weight-sharing GAN and a controller, trained in turn."""

    MOVES = {
        "paper": {},
        "code": {
            "steps": 65,
            "u_stage": (15, 35),
            "entropy_weight": 1e-3,
            "baseline": {"per_iteration": True, "update_first": True},
            "reset": {"statistic": "variance"},
            "recalibrate": False,
            "distinct": False,
            "skip_source": "sum",
        },
    }

    method: Literal["reinforce", "random"] = Field(
        "reinforce", description="`random`: uniform architectures, the same number of rewards."
    )
    mlas: bool = Field(True, description="Cells one after another; off: all cells at once.")
    steps: int = Field(90, ge=1, description="Search iterations.")
    u_stage: int | tuple[int, ...] = Field(
        30,
        description="Another cell after every so many finished iterations, or after these.",
    )
    cells: int = Field(3, ge=1, description="Each doubles the image's width.")
    bottom_width: int = Field(4, ge=2, description="Width that the first cell starts from.")
    z_dim: int = Field(128, ge=1)
    generator_width: int = Field(128, ge=1, description="Channels of every cell.")
    discriminator_width: int = Field(64, ge=1)
    skip_source: SkipSource = SKIP_SOURCE
    gan_steps: int = Field(
        2346,
        ge=1,
        description="Updates of G per iteration, each with n_critic of D; 15 epochs of CIFAR-10.",
    )
    n_critic: int = Field(5, ge=1)
    batch_size: int = Field(64, ge=1, description="Real images (and as many others) of a D update.")
    generator_batch: int = Field(128, ge=1)
    optimizer: Optimizer = Field(GAN_OPTIMIZER, description="Of the generator.")
    discriminator_optimizer: Optimizer = GAN_OPTIMIZER
    ema: Ema = Field(Ema(decay=0.0), description="The shared weights have no average.")
    flip: bool = False
    controller_steps: int = Field(30, ge=1, description="Updates of the controller per iteration.")
    controller_batch: int = Field(1, ge=1, description="Architectures of a controller update.")
    controller_optimizer: Optimizer = Optimizer(lr=3.5e-4, betas=(0.0, 0.9))
    hidden: int = Field(100, ge=1, description="Width of the controller's LSTM.")
    entropy_weight: float = Field(1e-4, ge=0)
    baseline: Baseline = Baseline()
    reset: Reset = Reset()
    candidates: int = Field(10, ge=1, description="M, drawn when a stage ends.")
    beams: int = Field(5, ge=1, description="K, kept of them.")
    distinct: bool = Field(True, description="The kept ones differ from each other.")
    reward: str = Field("reward", description="Variant of classifier.train whose IS rewards.")
    reward_images: int = Field(5000, ge=2, description="Images of an Inception score.")
    reward_batch: int = Field(100, ge=1)
    is_splits: int = Field(10, ge=1)
    recalibrate: bool = Field(
        True,
        description="Before its reward an architecture gets batch statistics of its own, not those "
        "that all architectures left (code: off).",
    )
    calibration_batches: int = Field(8, ge=1)

    @property
    def stages(self) -> int:
        """Return the number of stages: one per cell, or one for all."""
        return self.cells if self.mlas else 1

    @property
    def growth(self) -> tuple[int, ...]:
        """Return the finished iterations after which each stage but the last one ends."""
        if isinstance(self.u_stage, int):
            return tuple(self.u_stage * (stage + 1) for stage in range(self.stages - 1))
        return self.u_stage[: self.stages - 1]

    @field_validator("u_stage")
    @classmethod
    def _growth_rises(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        given = (value,) if isinstance(value, int) else value
        if any(a >= b for a, b in zip((0, *given), given, strict=False)):
            raise ValueError(f"u_stage {value}: iterations are at least 1 and rise")
        return value

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        growth = self.growth
        if len(growth) < self.stages - 1 or (growth and growth[-1] >= self.steps):
            raise ValueError(
                f"u_stage {self.u_stage} with {self.steps} iterations: {self.stages} cells need "
                f"{self.stages - 1} growths, all before the last iteration"
            )
        if self.reward_images < self.is_splits:
            raise ValueError(
                f"reward_images {self.reward_images} cannot be divided into {self.is_splits} splits"
            )
        if self.beams > self.candidates:
            raise ValueError(f"beams {self.beams} are kept of {self.candidates} candidates")
        if self.init_from is not None or self.ema.decay > 0:
            raise ValueError("a search starts from random weights and averages none")
        return self


class Search(SearchSettings, LabelledVariants):
    """autogan.search; one variant per way to search."""

    variants: dict[str, dict[str, Any]] = {
        "autogan": {},
        "random": {"method": "random"},
        "no-reset": {"reset": {"enabled": False}},
        "no-mlas": {"mlas": False},
    }


class DerivedSettings(Presets):
    """A generator of a fixed architecture trained from scratch, and its discriminator."""

    MOVES = {"paper": {}, "code": {"skip_source": "sum", "average_buffers": False}}

    arch: Published | tuple[int, ...] | None = Field(
        None, description="A published architecture, or integers, instead of a found one."
    )
    steps: int = Field(50_000, ge=1, description="Updates of G, each with n_critic of D.")
    n_critic: int = Field(5, ge=1)
    batch_size: int = Field(64, ge=1, description="Real images (and as many others) of a D update.")
    generator_batch: int = Field(128, ge=1)
    z_dim: int = Field(128, ge=1)
    generator_width: int = Field(256, ge=1, description="Channels of every cell.")
    discriminator_width: int = Field(128, ge=1)
    skip_source: SkipSource = SKIP_SOURCE
    optimizer: Optimizer = Field(GAN_OPTIMIZER, description="Of the generator.")
    discriminator_optimizer: Optimizer = GAN_OPTIMIZER
    ema: Ema = Ema(decay=0.999)
    average_buffers: bool = Field(
        True, description="The average holds the batch statistics too (code: those of the last G)."
    )
    flip: bool = False

    @field_validator("arch")
    @classmethod
    def _arch_is_one(cls, value: str | tuple[int, ...] | None) -> str | tuple[int, ...] | None:
        if isinstance(value, tuple):
            check_code(value)
        return value


class StudentSettings(DerivedSettings):
    """autogan.student: the best architectures of a search from scratch; the best of these is kept.

    The choice is the smallest Frechet distance to the validation split in the features of the
    reward classifier.
    """

    search: str = Field("autogan", description="Variant of autogan.search; not read with `arch`.")
    reward: str = Field("reward", description="Variant of classifier.train that selects.")
    top_k: int = Field(5, ge=1, description="Architectures that are trained; 1 with `arch`.")
    selection_images: int = Field(5000, ge=2, description="Images of each that are compared.")
    selection_batch: int = Field(100, ge=1)
    is_splits: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        if self.selection_images < self.is_splits:
            raise ValueError(
                f"selection_images {self.selection_images} cannot be divided into "
                f"{self.is_splits} splits"
            )
        return self


class Student(StudentSettings, LabelledVariants):
    """autogan.student; one variant per row of the table."""

    variants: dict[str, dict[str, Any]] = {
        name: {"search": name} for name in ("autogan", "random", "no-reset", "no-mlas")
    }


class TransferSettings(DerivedSettings):
    """autogan.transfer: a found architecture from scratch on a second data set."""

    student: str = Field("autogan", description="Variant of autogan.student; not read with `arch`.")
    dataset: str = Field("stl10", description="Variant of data.prepare.")


class Transfer(TransferSettings, LabelledVariants):
    """autogan.transfer; one variant per found architecture."""

    variants: dict[str, dict[str, Any]] = {"autogan": {"student": "autogan"}}


class AutoGan(Settings):
    """The generator of a GAN, found by a controller."""

    search: Search = Search()
    student: Student = Student()
    transfer: Transfer = Transfer(variants={})
